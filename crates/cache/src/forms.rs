//! Forms of objects and events (protobuf, watch frames, metadata), made on demand, shared by everybody who wants the same
//! one, and kept under one budget: the oldest go first.

use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

/// What a kept form costs beside its bytes.
const OVERHEAD: usize = 96;

type Made = Mutex<Vec<(u64, Bytes)>>;

/// The forms of one object or event; empty, it costs a pointer.
#[derive(Debug, Default)]
pub struct Slot(OnceLock<Arc<Made>>);

/// The budget.
#[derive(Debug)]
pub struct Forms {
    most: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    line: VecDeque<(Weak<Made>, u64, usize)>,
    bytes: usize,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Forms {
    /// At most so many bytes.
    pub fn new(most: usize) -> Forms {
        Forms { most, kept: Mutex::default() }
    }

    /// The form called `id`, which `make` makes if it is not there. Who asks for the same one meanwhile waits for it.
    pub fn get(&self, slot: &Slot, id: u64, make: impl FnOnce() -> Bytes) -> Bytes {
        let slot = slot.0.get_or_init(Arc::default);
        let bytes = {
            let mut made = lock(slot);
            if let Some((_, bytes)) = made.iter().find(|(other, _)| *other == id) {
                return bytes.clone();
            }
            let bytes = make();
            if bytes.len() + OVERHEAD > self.most {
                return bytes;
            }
            made.push((id, bytes.clone()));
            bytes
        };
        self.keep(slot, id, bytes.len() + OVERHEAD);
        bytes
    }

    fn keep(&self, slot: &Arc<Made>, id: u64, size: usize) {
        let mut kept = lock(&self.kept);
        kept.line.push_back((Arc::downgrade(slot), id, size));
        kept.bytes += size;
        let mut gone = Vec::new();
        while kept.bytes > self.most
            && let Some((slot, id, size)) = kept.line.pop_front()
        {
            kept.bytes -= size;
            gone.push((slot, id));
        }
        drop(kept);
        for (slot, id) in gone {
            if let Some(slot) = slot.upgrade() {
                lock(&slot).retain(|(other, _)| *other != id);
            }
        }
    }

    /// Bytes that are kept, with what forms of objects that are gone have left until their turn comes.
    pub fn bytes(&self) -> usize {
        lock(&self.kept).bytes
    }
}
