//! Creation and removal of tenants, in steps that a crash may interrupt.
//!
//! Create: landlord row `creating` → the file, atomically (see `storage::file::create`) → its first
//! rows → landlord row `active` together with the first key. A crash before the last step leaves a
//! row `creating`, which the next start removes with its file: the tenant was never acknowledged.
//! Delete: landlord row `deleting` → the file → the row. A crash leaves a row `deleting`, which the
//! next start finishes.

use std::path::Path;
use std::sync::Arc;

use super::TenantAccess;
use super::access::{Scopes, TenantStatus};
use super::checkpoints::{self, ChainEnds};
use super::commands::{self, DirectoryRefused, TenantRow};
use super::directory::Directory;
use super::keys::{self, NewKey};
use super::registry::{Registry, TenantUnavailable};
use crate::primitives::id::TenantId;
use crate::primitives::{Currency, Entropy, HostName, Name, Origin, Slug, refusals};
use crate::storage::data_dir::sync_dir;
use crate::storage::error::io_error;
use crate::storage::{DataDir, StorageError, StorageErrorKind, Tenant, TenantWork, file};

/// A tenant to create.
#[derive(Clone, Debug)]
pub struct CreateTenant {
    pub slug: Slug,
    pub name: Name,
    /// The base currency.
    pub currency: Currency,
    /// The host names of its storefront.
    pub domains: Vec<HostName>,
}

/// A new tenant with its first key, which is shown once.
#[derive(Debug)]
pub struct Created {
    pub tenant: TenantRow,
    /// A key with every scope of a tenant.
    pub key: NewKey,
}

refusals! {
    /// The reason why a tenant could not be created or removed.
    pub enum ProvisionRefused {}
    inherits { Directory(DirectoryRefused), Unavailable(TenantUnavailable), Storage(StorageError) }
}

/// The dependencies of creation and removal.
pub struct Provisioner {
    /// The data directory.
    pub dir: Arc<DataDir>,
    pub directory: Arc<Directory>,
    pub registry: Arc<Registry>,
    /// The source of keys.
    pub entropy: Arc<dyn Entropy>,
}

impl Provisioner {
    /// Creates a tenant; `seed` writes its first rows. On failure nothing remains of the tenant, or
    /// the next start removes it. Blocks.
    pub fn create<F>(
        &self,
        origin: &Origin,
        command: &CreateTenant,
        seed: F,
    ) -> Result<Created, ProvisionRefused>
    where
        F: FnMut(&mut TenantWork, &CreateTenant) -> Result<(), StorageError> + Send + 'static,
    {
        let begin = command.clone();
        let (id, now) = self
            .directory
            .change(origin.clone(), move |work| {
                let id: TenantId = work.new_id();
                commands::begin_tenant(
                    work,
                    id,
                    &begin.slug,
                    &begin.name,
                    begin.currency,
                    &begin.domains,
                )?;
                Ok::<_, DirectoryRefused>((id, work.now()))
            })
            .wait()?;
        let access = TenantAccess::new(id, command.slug.clone(), TenantStatus::Creating);
        let made = file::create::<Tenant>(&self.dir.tenant(id), *id.as_bytes(), now)
            .map_err(ProvisionRefused::from)
            .and_then(|()| self.finish(origin, command, &access, seed));
        match &made {
            Ok(_) => {}
            // It is unknown whether the last step was kept, and an acknowledged tenant must not
            // lose its file: the next start decides.
            Err(ProvisionRefused::Directory(DirectoryRefused::Storage(error)))
                if matches!(
                    error.kind(),
                    StorageErrorKind::Io | StorageErrorKind::Closed
                ) => {}
            Err(_) => {
                if let Err(error) = self.remove(origin, &access, "tenant.creation_undone") {
                    tracing::error!(tenant_id = %id, error = %error,
                        "failed tenant creation not undone; the next start tries again");
                }
            }
        }
        made
    }

    fn finish<F>(
        &self,
        origin: &Origin,
        command: &CreateTenant,
        access: &TenantAccess,
        mut seed: F,
    ) -> Result<Created, ProvisionRefused>
    where
        F: FnMut(&mut TenantWork, &CreateTenant) -> Result<(), StorageError> + Send + 'static,
    {
        let db = self.registry.open(access)?;
        let seeded = command.clone();
        db.write(origin.clone(), move |work| seed(work, &seeded))
            .wait()?;
        let (id, slug, key) = (
            access.id(),
            command.slug.clone(),
            keys::generate(self.entropy.as_ref()),
        );
        let stored = key.clone();
        let tenant = self
            .directory
            .change(origin.clone(), move |work| {
                commands::set_status(work, id, TenantStatus::Active, "tenant.created")?;
                let name = Name::parse("first key").expect("a plain name");
                commands::insert_key(work, Some(id), &name, Scopes::all_of_a_tenant(), &stored)?;
                commands::show_tenant(work, slug.as_str())
            })
            .wait()?;
        Ok(Created { tenant, key })
    }

    /// Removes a tenant, its file and its keys. `TenantNotFound`, `WrongStatus` for a tenant that
    /// is being created, or the storage's error; the next start finishes an interrupted removal.
    /// Blocks.
    pub fn delete(&self, origin: &Origin, slug: &Slug) -> Result<(), ProvisionRefused> {
        let named = slug.clone();
        let access = self
            .directory
            .change(origin.clone(), move |work| {
                let tenant = commands::show_tenant(work, named.as_str())?;
                // Its creation would continue, and activate a tenant without a file.
                if tenant.status == TenantStatus::Creating {
                    return Err(DirectoryRefused::WrongStatus(tenant.status));
                }
                commands::set_status(
                    work,
                    tenant.id,
                    TenantStatus::Deleting,
                    "tenant.deletion_begun",
                )?;
                Ok::<_, DirectoryRefused>(TenantAccess::new(
                    tenant.id,
                    tenant.slug,
                    TenantStatus::Deleting,
                ))
            })
            .wait()?;
        self.remove(origin, &access, "tenant.deleted")
    }

    /// Accepts a tenant's file although it lacks acknowledged changes, because the operator has no
    /// newer copy. Returns the checkpoint and the actual chain ends. `TenantNotFound`,
    /// `WrongStatus`, `NothingLost`, or another fault of the file. Blocks.
    pub fn accept_loss(
        &self,
        origin: &Origin,
        slug: &Slug,
    ) -> Result<(ChainEnds, ChainEnds), ProvisionRefused> {
        let named = slug.clone();
        let tenant = self
            .directory
            .read(move |view| commands::show_tenant(view, named.as_str()))
            .wait()?;
        if !matches!(
            tenant.status,
            TenantStatus::Active | TenantStatus::Suspended
        ) {
            return Err(DirectoryRefused::WrongStatus(tenant.status).into());
        }
        let access = TenantAccess::new(tenant.id, tenant.slug, tenant.status);
        let id = tenant.id;
        let accepted = self.registry.open_accepting_loss(&access, |known, found| {
            let write = self.directory.change(origin.clone(), move |work| {
                checkpoints::accept_loss(work, id, &known, &found)
            });
            write.wait()
        })?;
        let (known, found) = accepted.ok_or(DirectoryRefused::NothingLost)?;
        tracing::warn!(target: "security", tenant_id = %id, slug = %slug, known = known.ledger.seq,
            found = found.ledger.seq, "loss accepted");
        Ok((known, found))
    }

    /// Undoes interrupted creations and finishes interrupted removals, at the start. A tenant that
    /// cannot be cleaned up now waits for the next start and blocks no other tenant. Fails only
    /// when the tenants cannot be listed. Blocks.
    pub fn recover(&self) -> Result<(), ProvisionRefused> {
        for (status, action) in [
            (TenantStatus::Creating, "tenant.creation_undone"),
            (TenantStatus::Deleting, "tenant.deleted"),
        ] {
            let found = self
                .directory
                .read(move |view| commands::list_in_status(view, status))
                .wait()?;
            for access in found {
                tracing::warn!(tenant_id = %access.id(), slug = %access.slug(), status = %status,
                    "removing incomplete tenant");
                if let Err(error) = self.remove(&Origin::system(), &access, action) {
                    tracing::error!(tenant_id = %access.id(), slug = %access.slug(), error = %error,
                        source = ?std::error::Error::source(&error),
                        "incomplete tenant not removed; the next start tries again");
                }
            }
        }
        Ok(())
    }

    fn remove(
        &self,
        origin: &Origin,
        access: &TenantAccess,
        action: &'static str,
    ) -> Result<(), ProvisionRefused> {
        let id = access.id();
        self.registry.close(id);
        remove_files(&self.dir.tenants(), id).map_err(|error| io_error(&error))?;
        sync_dir(&self.dir.tenants()).map_err(|error| io_error(&error))?;
        self.directory
            .change(origin.clone(), move |work| {
                commands::remove_tenant(work, id, action)
            })
            .wait()?;
        self.registry.forget(id);
        Ok(())
    }
}

/// Removes all files of a tenant: its file with its companions, files that were quarantined, and
/// migration snapshots.
fn remove_files(dir: &Path, id: TenantId) -> std::io::Result<()> {
    let prefix = format!("{id}.db");
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
