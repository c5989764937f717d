//! Making and removing tenants, in steps of which each can be cut by a crash.
//!
//! Create: landlord row `creating` → the file, whole (see `storage::file::create`) → its first rows
//! → landlord row `active` together with the first key. A crash before the last step leaves a row
//! `creating`, which the next start removes with its file: nobody was told of that tenant. Delete:
//! landlord row `deleting` → the file → the row. A crash leaves a row `deleting`, which the next
//! start carries through.

use std::path::Path;
use std::sync::Arc;

use super::TenantAccess;
use super::access::{Scopes, TenantStatus};
use super::checkpoints::ChainEnds;
use super::commands::{self, DirectoryRefused, TenantRow};
use super::directory::Directory;
use super::keys::{self, NewKey};
use super::registry::{Registry, TenantUnavailable};
use crate::primitives::id::TenantId;
use crate::primitives::{Class, Currency, Entropy, HostName, Name, Origin, Refusal, Slug};
use crate::storage::data_dir::sync_dir;
use crate::storage::file::io_error;
use crate::storage::{DataDir, StorageError, StorageErrorKind, Tenant, TenantWork, file};

/// A tenant that is to be.
#[derive(Clone, Debug)]
pub struct CreateTenant {
    /// Its short name.
    pub slug: Slug,
    /// Its name.
    pub name: Name,
    /// Its own currency.
    pub currency: Currency,
    /// Its storefront's host names.
    pub domains: Vec<HostName>,
}

/// A tenant that was made, with its first key, which is shown once.
#[derive(Debug)]
pub struct Created {
    /// The tenant.
    pub tenant: TenantRow,
    /// The key, with every scope of a tenant.
    pub key: NewKey,
}

/// Why a tenant could not be made or removed.
#[derive(Debug, thiserror::Error)]
pub enum ProvisionRefused {
    /// The directory refused.
    #[error(transparent)]
    Directory(#[from] DirectoryRefused),
    /// The new file could not be used.
    #[error(transparent)]
    Unavailable(#[from] TenantUnavailable),
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Refusal for ProvisionRefused {
    fn class(&self) -> Class {
        match self {
            Self::Directory(refused) => refused.class(),
            Self::Unavailable(refused) => refused.class(),
            Self::Storage(error) => error.class(),
        }
    }
    fn code(&self) -> &'static str {
        match self {
            Self::Directory(refused) => refused.code(),
            Self::Unavailable(refused) => refused.code(),
            Self::Storage(error) => error.code(),
        }
    }
}

/// What making and removing tenants needs.
pub struct Provisioner {
    /// Where the files are.
    pub dir: Arc<DataDir>,
    /// Who exists.
    pub directory: Arc<Directory>,
    /// Which files are open.
    pub registry: Arc<Registry>,
    /// Where keys come from.
    pub entropy: Arc<dyn Entropy>,
}

impl Provisioner {
    /// Makes a tenant; `seed` writes its first rows. Blocks.
    ///
    /// # Errors
    /// [`ProvisionRefused`]; nothing is left of the tenant then, or the next start clears it away.
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
            // Whether the last step was kept is not known, and what is acknowledged must not lose
            // its file: the next start looks.
            Err(ProvisionRefused::Directory(DirectoryRefused::Storage(error)))
                if matches!(
                    error.kind(),
                    StorageErrorKind::Io | StorageErrorKind::Closed
                ) => {}
            Err(_) => {
                if let Err(error) = self.remove(origin, &access, "tenant.creation_undone") {
                    tracing::error!(tenant_id = %id, error = %error, "a tenant that could not be \
                        made is not cleared away; the next start tries again");
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

    /// Removes a tenant, its file and its keys. Blocks.
    ///
    /// # Errors
    /// `TenantNotFound`, `WrongStatus` for one that is being made, or the storage's; what was begun
    /// is carried through at the next start.
    pub fn delete(&self, origin: &Origin, slug: &Slug) -> Result<(), ProvisionRefused> {
        let named = slug.clone();
        let access = self
            .directory
            .change(origin.clone(), move |work| {
                let tenant = commands::show_tenant(work, named.as_str())?;
                // Its maker would go on, and put a tenant without a file on the list.
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

    /// Takes a tenant's file for what it is, although it lacks what was acknowledged: the operator
    /// has no newer copy. Gives how far the landlord knew the file to be, and how far it is.
    /// Blocks.
    ///
    /// # Errors
    /// `TenantNotFound`, `WrongStatus`, `NothingLost`, or what is wrong with the file besides.
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
        let accepted = self.registry.open_behind(&access, |known, found| {
            let write = self.directory.change(origin.clone(), move |work| {
                commands::accept_loss(work, id, &known, &found)
            });
            write.wait()
        })?;
        let (known, found) = accepted.ok_or(DirectoryRefused::NothingLost)?;
        tracing::warn!(target: "security", tenant_id = %id, slug = %slug, known = known.ledger.seq,
            found = found.ledger.seq, "loss accepted");
        Ok((known, found))
    }

    /// Undoes what a crash left half made, and carries through what it left half removed; what
    /// cannot be cleared away now waits for the next start and stops no other tenant. Blocks; for
    /// the start.
    ///
    /// # Errors
    /// [`ProvisionRefused`] when it is not even known which tenants there are.
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
                tracing::warn!(tenant_id = %access.id(), slug = %access.slug(), was = %status,
                    "half-made or half-removed tenant is cleared away");
                if let Err(error) = self.remove(&Origin::system(), &access, action) {
                    tracing::error!(tenant_id = %access.id(), slug = %access.slug(), error = %error,
                        source = ?std::error::Error::source(&error),
                        "half-made or half-removed tenant not cleared away; the next start tries \
                         again");
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

/// Removes all that belongs to a tenant: its file with its companions, what was set aside, and what
/// a migration kept.
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
