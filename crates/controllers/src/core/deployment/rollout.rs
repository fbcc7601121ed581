//! Moving from old ReplicaSets to the new one: step by step, or all at once after the old ones are gone.

use super::Work;

impl Work<'_> {
    /// Grows the new set and shrinks the old ones within surge and unavailability.
    pub fn rolling(&mut self) {
        self.find_new(true);
        let Some(new) = self.new_set() else { return self.finish(true) };
        let made_now = self.sets[new].there.is_none();
        let grown = !made_now && self.size_new(new);
        if !made_now && !grown && !self.shrink_old(new) && self.is_complete() {
            self.clean_up();
        }
        self.finish(true);
    }

    fn size_new(&mut self, new: usize) -> bool {
        let (have, want) = (self.sets[new].replicas, self.replicas());
        let size = if have == want {
            return false;
        } else if have > want {
            want
        } else {
            self.new_size(have)
        };
        if size == have {
            return false;
        }
        self.resize(new, size);
        true
    }

    fn shrink_old(&mut self, new: usize) -> bool {
        let old: Vec<usize> = (0..self.sets.len()).filter(|i| *i != new).collect();
        if old.iter().map(|i| self.sets[*i].replicas).sum::<i64>() == 0 {
            return false;
        }
        let least = self.replicas() - self.max_unavailable();
        let new_unavailable = self.sets[new].replicas - self.sets[new].available();
        let mut room = self.total() - least - new_unavailable;
        if room <= 0 {
            return false;
        }
        let mut changed = false;
        // First those that do not serve anyway.
        for at in &old {
            let set = &self.sets[*at];
            let useless = (set.replicas - set.available()).max(0).min(room);
            if set.replicas > 0 && useless > 0 {
                room -= useless;
                self.resize(*at, self.sets[*at].replicas - useless);
                changed = true;
            }
        }
        // Then as many as availability allows.
        let mut spare = self.sets.iter().map(|s| s.available()).sum::<i64>() - least;
        for at in old {
            let less = self.sets[at].replicas.min(spare);
            if less > 0 {
                spare -= less;
                self.resize(at, self.sets[at].replicas - less);
                changed = true;
            }
        }
        changed
    }

    /// Ends all old pods, then makes the new ones.
    pub fn recreate(&mut self) {
        self.find_new(false);
        let new = self.new_set();
        let mut shrunk = false;
        for at in (0..self.sets.len()).filter(|i| Some(*i) != new) {
            if self.sets[at].replicas > 0 {
                self.resize(at, 0);
                shrunk = true;
            }
        }
        if shrunk || self.old_pods_run(new) {
            return self.finish(true);
        }
        match new {
            None => self.find_new(true),
            Some(at) if self.sets[at].replicas != self.replicas() => self.resize(at, self.replicas()),
            Some(_) if self.is_complete() => self.clean_up(),
            Some(_) => {}
        }
        self.finish(true);
    }

    fn old_pods_run(&self, new: Option<usize>) -> bool {
        let new_uid = new.map(|at| self.sets[at].uid.as_str());
        if self.sets.iter().any(|s| Some(s.uid.as_str()) != new_uid && s.actual() > 0) {
            return true;
        }
        let old = self.world.pods.iter().filter(|(uid, _)| Some(uid.as_str()) != new_uid);
        old.flat_map(|(_, pods)| pods).any(|pod| !crate::core::pods::is_finished(pod))
    }
}
