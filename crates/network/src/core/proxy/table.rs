//! What is in the kernel's table, counted, and the transactions that change it.
//!
//! Invariants: an element is in the kernel while at least one service wants it; if two services claim one entrance, the
//! one whose name comes first has it. Within a transaction: new chains and maps, then removed elements, then added ones,
//! then changed rules, then what nobody refers to any more is deleted.

use super::rules::{Contribution, MASQUERADE_MARK, Shared};
use super::{Key, Settings};
use crate::core::nft::{Expr, Hook, Load, Rule, Set, Transaction, Value, Verdict};
use crate::core::pods::{in_block, to_this_machine};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

type ElementKey = (Shared, Vec<u8>);

/// Element → who wants it with which value, first name first.
#[derive(Default)]
pub struct Table {
    elements: HashMap<ElementKey, Vec<(Key, Value)>>,
    chains: BTreeMap<Arc<str>, (Vec<Rule>, usize)>,
    memories: BTreeMap<Arc<str>, Set>,
    pending: Pending,
}

/// What the kernel had before the changes that wait for the next transaction.
#[derive(Default)]
struct Pending {
    elements: HashMap<ElementKey, Option<Value>>,
    chains: BTreeMap<Arc<str>, Option<Vec<Rule>>>,
    memories: BTreeMap<Arc<str>, Option<Set>>,
}

impl Table {
    /// Takes `before` out and puts `after` in for the service `owner`.
    pub fn replace(&mut self, owner: &Key, before: &Contribution, after: &Contribution) {
        self.replace_elements(owner, before, after);
        for (name, rules) in &after.chains {
            self.remember_chain(name);
            let entry = self.chains.entry(name.clone()).or_insert_with(|| (rules.clone(), 0));
            entry.0.clone_from(rules);
            entry.1 += 1;
        }
        for name in before.chains.keys() {
            self.remember_chain(name);
            if let Some(entry) = self.chains.get_mut(name) {
                entry.1 -= 1;
                if entry.1 == 0 {
                    self.chains.remove(name);
                }
            }
        }
        for memory in before.memories.iter().chain(&after.memories) {
            let name = &memory.name;
            self.pending.memories.entry(name.clone()).or_insert_with(|| self.memories.get(name).cloned());
        }
        for memory in &before.memories {
            self.memories.remove(&memory.name);
        }
        for memory in &after.memories {
            self.memories.insert(memory.name.clone(), memory.clone());
        }
    }

    fn remember_chain(&mut self, name: &Arc<str>) {
        let now = self.chains.get(name).map(|(rules, _)| rules.clone());
        self.pending.chains.entry(name.clone()).or_insert(now);
    }

    /// Both lists are sorted by set and key: only what differs is touched.
    fn replace_elements(&mut self, owner: &Key, before: &Contribution, after: &Contribution) {
        let (mut old, mut new) = (before.elements.iter().peekable(), after.elements.iter().peekable());
        loop {
            let order = match (old.peek(), new.peek()) {
                (None, None) => return,
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some(o), Some(n)) => (o.0, &o.1).cmp(&(n.0, &n.1)),
            };
            let removed = if order.is_le() { old.next() } else { None };
            let added = if order.is_ge() { new.next() } else { None };
            if removed.map(|e| &e.2) == added.map(|e| &e.2) {
                continue;
            }
            if let Some((set, key, _)) = removed.or(added) {
                self.set_element(&(*set, key.clone()), owner, added.map(|e| e.2.clone()));
            }
        }
    }

    fn set_element(&mut self, at: &ElementKey, owner: &Key, value: Option<Value>) {
        let claims = self.elements.entry(at.clone()).or_default();
        let effective = claims.first().map(|(_, v)| v.clone());
        self.pending.elements.entry(at.clone()).or_insert(effective);
        claims.retain(|(who, _)| who != owner);
        if let Some(value) = value {
            let place = claims.partition_point(|(who, _)| who < owner);
            claims.reserve_exact(1);
            claims.insert(place, (owner.clone(), value));
        }
        if claims.is_empty() {
            self.elements.remove(at);
        }
    }

    fn effective(&self, at: &ElementKey) -> Option<&Value> {
        self.elements.get(at).and_then(|claims| claims.first()).map(|(_, value)| value)
    }

    /// Adds the difference to what the kernel has to `tx`.
    pub fn flush(&mut self, tx: &mut Transaction) {
        let pending = std::mem::take(&mut self.pending);
        for (name, old) in &pending.memories {
            if let Some(set) = self.memories.get(name)
                && old.is_none()
            {
                tx.add_set(set);
            }
        }
        for (name, old) in &pending.chains {
            if old.is_none() && self.chains.contains_key(name) {
                tx.add_chain(name, None);
            }
        }
        self.flush_elements(tx, &pending);
        for (name, old) in &pending.chains {
            match (old, self.chains.get(name)) {
                (None, Some((new, _))) => new.iter().for_each(|rule| tx.add_rule(name, rule)),
                (Some(old), Some((new, _))) if old != new => {
                    tx.flush_chain(name);
                    new.iter().for_each(|rule| tx.add_rule(name, rule));
                }
                _ => {}
            }
        }
        // Chains may refer to each other: all rules go before the first chain does.
        let gone = || pending.chains.iter().filter(|(name, old)| old.is_some() && !self.chains.contains_key(*name));
        gone().for_each(|(name, _)| tx.flush_chain(name));
        gone().for_each(|(name, _)| tx.delete_chain(name));
        for (name, old) in &pending.memories {
            if old.is_some() && !self.memories.contains_key(name) {
                tx.delete_set(name);
            }
        }
    }

    fn flush_elements(&self, tx: &mut Transaction, pending: &Pending) {
        let mut removed: BTreeMap<Shared, BTreeSet<&[u8]>> = BTreeMap::new();
        let mut added: BTreeMap<Shared, BTreeMap<&[u8], &Value>> = BTreeMap::new();
        for (at, old) in &pending.elements {
            let new = self.effective(at);
            if old.as_ref() == new {
                continue;
            }
            if old.is_some() {
                removed.entry(at.0).or_default().insert(&at.1);
            }
            if let Some(new) = new {
                added.entry(at.0).or_default().insert(&at.1, new);
            }
        }
        for (set, keys) in removed {
            tx.delete_elements(set.name(), keys);
        }
        for (set, elements) in added {
            tx.add_elements(set.name(), elements);
        }
    }

    /// Adds the whole table to `tx`, in place of what the kernel has.
    pub fn rebuild(&mut self, tx: &mut Transaction, settings: &Settings) {
        self.pending = Pending::default();
        tx.add_table();
        tx.delete_table();
        tx.add_table();
        Shared::ALL.iter().for_each(|set| tx.add_set(&set.set()));
        self.memories.values().for_each(|set| tx.add_set(set));
        self.chains.keys().for_each(|name| tx.add_chain(name, None));
        base(tx, settings);
        for (name, (rules, _)) in &self.chains {
            rules.iter().for_each(|rule| tx.add_rule(name, rule));
        }
        let mut by_set: BTreeMap<Shared, Vec<(&[u8], &Value)>> = BTreeMap::new();
        for ((set, key), claims) in &self.elements {
            if let Some((_, value)) = claims.first() {
                by_set.entry(*set).or_default().push((key, value));
            }
        }
        for (set, mut elements) in by_set {
            elements.sort_by_key(|(key, _)| *key);
            tx.add_elements(set.name(), elements);
        }
    }

    /// How many elements and chains of services there are.
    pub fn size(&self) -> (usize, usize) {
        (self.elements.len(), self.chains.len())
    }
}

fn lookup(shared: Shared, from_any_address: bool) -> Rule {
    let mut rule = if from_any_address { to_this_machine() } else { vec![Expr::Load(0, Load::DestinationAddress)] };
    let first = u32::from(!from_any_address);
    rule.extend([
        Expr::Load(first, Load::Protocol),
        Expr::Load(first + 1, Load::DestinationPort),
        Expr::VerdictOf(0, shared.name().into()),
    ]);
    rule
}

/// Base chains and the rules that do not depend on any object.
fn base(tx: &mut Transaction, settings: &Settings) {
    let chain = |kind, number, priority| Some(Hook { kind, number, priority });
    tx.add_chain("reject", None);
    tx.add_rule("reject", &[Expr::Reject]);
    tx.add_chain("check", None);
    tx.add_rule("check", &lookup(Shared::Empty, false));
    // A port that the service does not have, and addresses that no service has.
    let known =
        [Expr::Load(0, Load::DestinationAddress), Expr::In(0, Shared::ClusterAddresses.name().into()), Expr::Reject];
    tx.add_rule("check", &known);
    let mut unknown = in_block(Load::DestinationAddress, &settings.service_block, true);
    unknown.push(Expr::Then(Verdict::Drop));
    tx.add_rule("check", &unknown);

    let is_new = vec![
        Expr::Load(0, Load::ConnState),
        Expr::Bits(0, 8_u32.to_ne_bytes().to_vec(), vec![0; 4]),
        Expr::Differs(0, vec![0; 4]),
        Expr::Then(Verdict::Jump("check".into())),
    ];
    tx.add_chain("filter-prerouting", chain("filter", 0, -110));
    tx.add_rule("filter-prerouting", &lookup(Shared::Guarded, false));
    tx.add_chain("filter-input", chain("filter", 1, 0));
    tx.add_rule("filter-input", &lookup(Shared::EmptyNodePorts, true));
    tx.add_chain("filter-forward", chain("filter", 2, 0));
    tx.add_rule("filter-forward", &is_new);
    tx.add_chain("filter-output", chain("filter", 3, 0));
    tx.add_rule("filter-output", &is_new);
    tx.add_rule("filter-output", &lookup(Shared::EmptyNodePorts, true));
    for (name, number) in [("nat-prerouting", 0), ("nat-output", 3)] {
        tx.add_chain(name, chain("nat", number, -100));
        tx.add_rule(name, &lookup(Shared::Services, false));
        tx.add_rule(name, &lookup(Shared::NodePorts, true));
    }
    tx.add_chain("nat-postrouting", chain("nat", 4, 100));
    let bit = MASQUERADE_MARK;
    tx.add_rule(
        "nat-postrouting",
        &[
            Expr::Load(0, Load::Mark),
            Expr::Bits(0, bit.to_ne_bytes().to_vec(), vec![0; 4]),
            Expr::Equal(0, bit.to_ne_bytes().to_vec()),
            Expr::Load(0, Load::Mark),
            Expr::Bits(0, (!bit).to_ne_bytes().to_vec(), vec![0; 4]),
            Expr::SetMark(0),
            Expr::Masquerade,
        ],
    );
    tx.add_rule(
        "nat-postrouting",
        &[
            Expr::Load(0, Load::SourceAddress),
            Expr::Load(1, Load::DestinationAddress),
            Expr::In(0, Shared::Hairpin.name().into()),
            Expr::Masquerade,
        ],
    );
}
