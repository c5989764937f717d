//! Retention for the landlord's file: its audit trail, and processed Stripe events.

use crate::platform::audit;
use crate::platform::retention::PrunedTable;
use crate::primitives::Timestamp;
use crate::storage::{
    Landlord, LandlordView, LandlordWork, Rows, StorageError, params, statements, text_enum,
};

statements! {
    COUNT_EVENTS = "SELECT count(*) FROM stripe_event WHERE processed_at IS NOT NULL
        AND received_at < ?1";
    FORGET_EVENTS = "DELETE FROM stripe_event WHERE rowid IN (SELECT rowid FROM stripe_event
        WHERE processed_at IS NOT NULL AND received_at < ?1 ORDER BY received_at LIMIT ?2)";
}

text_enum! {
    /// The tables that are pruned.
    Table {
        /// Entries of the landlord's audit trail.
        AuditLog = "audit_log",
        /// Processed events from Stripe.
        StripeEvent = "stripe_event",
    }
}

/// The oldest time that each table keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CutOffs {
    pub audit_log: Timestamp,
    pub stripe_event: Timestamp,
    /// The newest audit entry at the time of the request, so that entries which the run itself
    /// adds make no further entries expire.
    pub newest: Option<i64>,
}

impl PrunedTable for Table {
    type File = Landlord;
    type CutOffs = CutOffs;

    fn cut_off(self, cut_offs: &CutOffs) -> Option<Timestamp> {
        Some(match self {
            Self::AuditLog => cut_offs.audit_log,
            Self::StripeEvent => cut_offs.stripe_event,
        })
    }

    fn find_due(self, view: &LandlordView, of: &CutOffs) -> Result<(i64, i64), StorageError> {
        match self {
            Self::AuditLog => audit::find_prunable(view, of.audit_log, of.newest),
            Self::StripeEvent => {
                let rows = view.one(&COUNT_EVENTS, params![of.stripe_event], |row| row.get(0))?;
                Ok((0, rows))
            }
        }
    }

    fn delete_batch(
        self,
        work: &mut LandlordWork,
        to: i64,
        of: &CutOffs,
    ) -> Result<usize, StorageError> {
        let limit = self.full_batch();
        match self {
            Self::AuditLog => audit::prune(work, to, limit),
            Self::StripeEvent => {
                work.change(&FORGET_EVENTS, params![of.stripe_event, limit], Rows::Any)
            }
        }
    }
}
