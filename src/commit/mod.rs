//! Encoded files become visible: the protocol by which nothing is lost and nothing is stored twice.
//!
//! A batch is a set of object ranges of one source. Its life, with what a crash after each step leaves:
//!
//! 1. The ledger gets one row a range, state `planned`. After a crash the batch is *open*; the next
//!    run that meets its objects does it again from the same ranges.
//! 2. Data files of `rejected` and `audit` are put into their folders. They are in no log, so no
//!    reader sees them; a redo makes files of the same names.
//! 3. `rejected` is committed with the transaction `ingest:<source>` = batch number.
//! 4. `audit` is committed with that transaction, one transaction a touched partition, and the
//!    batch's closing ledger rows in the commit's metadata. This is the moment at which the batch
//!    counts (K3). A redo that finds the transaction takes the closing rows from there.
//! 5. The ledger gets one row a range, state `committed`, under the transaction `close:<source>`.
//!
//! Delta does not compare transaction versions, so each step reads the transaction on the very
//! snapshot it commits from, and every commit error counts as "unknown" until the transaction has
//! been read again. Batches of one source run one after the other. The transaction of a partition
//! makes a second writer of that partition conflict: it looks again at what has landed, and tries
//! again. Planning conflicts with all planning, through one transaction, so that a range is planned
//! once (K2).

pub mod checkpoint;
pub mod known;
pub mod ledger;
pub mod publish;
pub mod stage;
