//! What the dispatcher and the tasks that it starts have in common.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::batch::Rules;
use super::ready_queue::ReadyQueue;
use crate::app::App;
use crate::platform::queue::{Job, Queue};
use crate::primitives::id::{JobId, TenantId};
use crate::storage::{Database, Tenant};
use crate::tenancy::access::TenantStatus;

/// Whether a shop can be entered.
pub(super) enum OpenResult {
    /// It can.
    Open(Database<Tenant>),
    /// It is being made, or it is not known who exists: soon.
    Retry,
    /// Its file cannot be used; the sweep tries again.
    Unavailable,
    /// There is no such shop any more.
    Deleted,
}

pub(super) struct Shared {
    pub(super) app: Arc<App>,
    pub(super) rules: Rules,
    pub(super) ready_queue: Arc<ReadyQueue>,
    running: Mutex<HashMap<JobId, (TenantId, Job)>>,
    /// Whose last batch failed, so that it is not known what of it was kept.
    doubtful: Mutex<HashSet<(TenantId, Queue)>>,
    stopping: AtomicBool,
}

impl Shared {
    pub(super) fn new(app: Arc<App>, rules: Rules) -> Self {
        Self {
            app,
            rules,
            ready_queue: Arc::default(),
            running: Mutex::default(),
            doubtful: Mutex::default(),
            stopping: AtomicBool::new(false),
        }
    }

    /// The shop's file, opened if need be on a thread that may block.
    pub(super) async fn open(&self, tenant: TenantId) -> OpenResult {
        let access = match self.app.directory.tenant_of_id(tenant).await {
            Ok(Some(access)) => access,
            Ok(None) => return OpenResult::Deleted,
            Err(error) => {
                tracing::warn!(tenant_id = %tenant, error = %error, "whose jobs these are could \
                    not be read; they wait");
                return OpenResult::Retry;
            }
        };
        match access.status() {
            TenantStatus::Creating => return OpenResult::Retry,
            TenantStatus::Deleting => return OpenResult::Deleted,
            TenantStatus::Active | TenantStatus::Suspended => {}
        }
        if let Some(db) = self.app.registry.get(&access) {
            return OpenResult::Open(db);
        }
        let registry = self.app.registry.clone();
        match tokio::task::spawn_blocking(move || registry.open(&access)).await {
            Ok(Ok(db)) => OpenResult::Open(db),
            Ok(Err(_)) | Err(_) => OpenResult::Unavailable,
        }
    }

    pub(super) fn has_begun(&self, tenant: TenantId, job: &Job) {
        self.running().insert(job.id, (tenant, job.clone()));
    }

    pub(super) fn has_ended(&self, id: JobId) {
        self.running().remove(&id);
    }

    /// The jobs of a shop that are being carried out.
    pub(super) fn list_running(&self, tenant: TenantId) -> Vec<JobId> {
        let running = self.running();
        running
            .iter()
            .filter(|(_, (of, _))| *of == tenant)
            .map(|(id, _)| *id)
            .collect()
    }

    /// The batch of a shop in a queue failed.
    pub(super) fn doubt(&self, tenant: TenantId, queue: Queue) {
        self.doubtful().insert((tenant, queue));
    }

    /// Whether the batch before failed; asked once.
    pub(super) fn was_doubtful(&self, tenant: TenantId, queue: Queue) -> bool {
        self.doubtful().remove(&(tenant, queue))
    }

    fn doubtful(&self) -> MutexGuard<'_, HashSet<(TenantId, Queue)>> {
        self.doubtful.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The jobs that are being carried out; they are forgotten here.
    pub(super) fn take_running(&self) -> Vec<(TenantId, Job)> {
        self.running().drain().map(|(_, running)| running).collect()
    }

    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    fn running(&self) -> MutexGuard<'_, HashMap<JobId, (TenantId, Job)>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
