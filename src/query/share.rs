//! The part of the common memory that one session may hold. Memory comes from the pool that all
//! sessions share; a session that asks for more than its part spills or is refused, so that one heavy
//! question does not starve the others.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use datafusion::common::{Result, resources_datafusion_err};
use datafusion::execution::memory_pool::{
    MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation,
};

/// A limit over a common pool.
#[derive(Debug)]
pub(super) struct Share {
    common: Arc<dyn MemoryPool>,
    limit: usize,
    held: AtomicUsize,
}

impl Share {
    /// At most `limit` bytes of the common pool.
    pub(super) fn of(common: Arc<dyn MemoryPool>, limit: usize) -> Self {
        Self {
            common,
            limit,
            held: AtomicUsize::new(0),
        }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "share({} bytes)", self.limit)
    }
}

impl MemoryPool for Share {
    fn name(&self) -> &'static str {
        "share"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.common.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.common.unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.held.fetch_add(additional, Ordering::Relaxed);
        self.common.grow(reservation, additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.common.shrink(reservation, shrink);
        self.held.fetch_sub(shrink, Ordering::Relaxed);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        let grown = |held: usize| {
            held.checked_add(additional)
                .filter(|held| *held <= self.limit)
        };
        self.held
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown)
            .map_err(|held| {
                resources_datafusion_err!(
                    "{} asked for {additional} bytes more, and of the {} bytes for one session \
                     {held} are held",
                    reservation.consumer().name(),
                    self.limit
                )
            })?;
        self.common
            .try_grow(reservation, additional)
            .inspect_err(|_| {
                self.held.fetch_sub(additional, Ordering::Relaxed);
            })
    }

    fn reserved(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::execution::memory_pool::GreedyMemoryPool;

    #[test]
    fn a_session_gets_its_part_and_no_more_than_there_is() {
        let common: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(100));
        let share =
            |limit| -> Arc<dyn MemoryPool> { Arc::new(Share::of(Arc::clone(&common), limit)) };
        let (small, large) = (share(60), share(90));
        let first = MemoryConsumer::new("first").register(&small);
        let second = MemoryConsumer::new("second").register(&large);
        assert!(first.try_grow(61).is_err());
        first.try_grow(60).unwrap();
        assert!(second.try_grow(41).is_err(), "the common pool is the limit");
        assert_eq!((small.reserved(), large.reserved()), (60, 0));
        second.try_grow(40).unwrap();
        drop(first);
        assert_eq!((small.reserved(), common.reserved()), (0, 40));
    }
}
