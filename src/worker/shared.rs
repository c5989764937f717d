//! State shared by the dispatcher and the tasks that it starts.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use super::batch::Rules;
use super::ready_queue::ReadyQueue;
use crate::app::App;
use crate::platform::queue::{Job, Queue};
use crate::primitives::id::{JobId, TenantId};
use crate::primitives::sync;
use crate::storage::{Database, Tenant};
use crate::tenancy::access::TenantStatus;

/// The result of opening a tenant's file.
pub(super) enum OpenResult {
    Open(Database<Tenant>),
    /// The tenant is being created, or the directory could not be read. Retry soon.
    Retry,
    /// The file cannot be used; the sweep tries again.
    Unavailable,
    /// The tenant does not exist any more.
    Deleted,
}

pub(super) struct Shared {
    pub(super) app: Arc<App>,
    pub(super) rules: Rules,
    pub(super) ready_queue: Arc<ReadyQueue>,
    running: Mutex<HashMap<JobId, (TenantId, Job)>>,
    /// Queues whose last batch failed, so that it is unknown whether its transaction was kept.
    uncertain: Mutex<HashSet<(TenantId, Queue)>>,
    stopping: AtomicBool,
}

impl Shared {
    pub(super) fn new(app: Arc<App>, rules: Rules) -> Self {
        Self {
            app,
            rules,
            ready_queue: Arc::default(),
            running: Mutex::default(),
            uncertain: Mutex::default(),
            stopping: AtomicBool::new(false),
        }
    }

    /// Opens the tenant's file, on a blocking thread when it is not open yet.
    pub(super) async fn open(&self, tenant: TenantId) -> OpenResult {
        let access = match self.app.stores.directory.tenant_of_id(tenant).await {
            Ok(Some(access)) => access,
            Ok(None) => return OpenResult::Deleted,
            Err(error) => {
                tracing::warn!(tenant_id = %tenant, error = %error, "the tenant could not be \
                    read; its jobs wait");
                return OpenResult::Retry;
            }
        };
        match access.status() {
            TenantStatus::Creating => return OpenResult::Retry,
            TenantStatus::Deleting => return OpenResult::Deleted,
            TenantStatus::Active | TenantStatus::Suspended => {}
        }
        if let Some(db) = self.app.stores.registry.get(&access) {
            return OpenResult::Open(db);
        }
        let registry = self.app.stores.registry.clone();
        match tokio::task::spawn_blocking(move || registry.open(&access)).await {
            Ok(Ok(db)) => OpenResult::Open(db),
            Ok(Err(_)) | Err(_) => OpenResult::Unavailable,
        }
    }

    pub(super) fn add_running(&self, tenant: TenantId, job: &Job) {
        self.running().insert(job.id, (tenant, job.clone()));
    }

    pub(super) fn remove_running(&self, id: JobId) {
        self.running().remove(&id);
    }

    /// Lists the jobs of a tenant that are being executed.
    pub(super) fn list_running(&self, tenant: TenantId) -> Vec<JobId> {
        let running = self.running();
        running
            .iter()
            .filter(|(_, (of, _))| *of == tenant)
            .map(|(id, _)| *id)
            .collect()
    }

    /// Records that the last batch of a tenant in a queue failed.
    pub(super) fn set_uncertain(&self, tenant: TenantId, queue: Queue) {
        self.uncertain().insert((tenant, queue));
    }

    /// Returns whether the last batch failed, and clears that state.
    pub(super) fn take_uncertain(&self, tenant: TenantId, queue: Queue) -> bool {
        self.uncertain().remove(&(tenant, queue))
    }

    fn uncertain(&self) -> MutexGuard<'_, HashSet<(TenantId, Queue)>> {
        sync::lock(&self.uncertain)
    }

    /// Removes and returns the jobs that are being executed.
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
        sync::lock(&self.running)
    }
}
