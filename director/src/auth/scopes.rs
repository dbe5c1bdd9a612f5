//! Scopes and what they grant (director-api.md §2.3).

use super::Identity;
use crate::error::{Error, code};

/// Director-wide permissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    Admin,
    Read,
    ReadReleases,
    ReadStemcells,
    ListDeployments,
    ListTasks,
    ReadEvents,
    ListConfigs,
    CreateDeployment,
    UpdateConfigs,
    UploadReleases,
    UploadStemcells,
}

/// Kind of access to one deployment, task or config.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Admin,
    Read,
}

fn admin_scopes(uuid: &str) -> Vec<String> {
    vec!["bosh.admin".into(), format!("bosh.{uuid}.admin")]
}

fn read_scopes(uuid: &str) -> Vec<String> {
    vec!["bosh.read".into(), format!("bosh.{uuid}.read")]
}

/// The caller may do everything.
pub fn is_admin(who: &Identity, uuid: &str) -> bool {
    has_any(who, &admin_scopes(uuid))
}

/// The caller may read everything.
pub fn is_reader(who: &Identity, uuid: &str) -> bool {
    is_admin(who, uuid) || has_any(who, &read_scopes(uuid))
}

fn has_any(who: &Identity, scopes: &[String]) -> bool {
    who.scopes.iter().any(|scope| scopes.contains(scope))
}

impl Permission {
    /// The scopes that the refusal names, in the original's order: those that hold whoever asks.
    fn fixed_scopes(self, uuid: &str) -> Vec<String> {
        let mut scopes = admin_scopes(uuid);
        match self {
            Permission::Admin | Permission::CreateDeployment | Permission::UpdateConfigs => {}
            Permission::UploadReleases => scopes.push("bosh.releases.upload".into()),
            Permission::UploadStemcells => scopes.push("bosh.stemcells.upload".into()),
            _ => scopes.extend(read_scopes(uuid)),
        }
        scopes
    }

    fn for_team_admins(self) -> bool {
        !matches!(
            self,
            Permission::Admin
                | Permission::Read
                | Permission::UploadReleases
                | Permission::UploadStemcells
        )
    }

    fn for_team_readers(self) -> bool {
        matches!(self, Permission::ReadEvents | Permission::ListConfigs)
    }
}

/// Refuses a caller without the permission: 401, code 600000.
pub fn require(who: &Identity, uuid: &str, permission: Permission) -> Result<(), Error> {
    let scopes = permission.fixed_scopes(uuid);
    let granted = has_any(who, &scopes)
        || (permission.for_team_admins() && !who.teams("admin").is_empty())
        || (permission.for_team_readers() && !who.teams("read").is_empty());
    if granted {
        Ok(())
    } else {
        Err(refused(&scopes))
    }
}

/// Access to an object that belongs to `teams`.
pub fn allows(who: &Identity, uuid: &str, access: Access, teams: &[String]) -> bool {
    if is_admin(who, uuid) || who.teams("admin").iter().any(|team| teams.contains(team)) {
        return true;
    }
    access == Access::Read
        && (is_reader(who, uuid) || who.teams("read").iter().any(|team| teams.contains(team)))
}

/// The scopes that give access to an object of `teams`, as refusals name them.
pub fn object_scopes(uuid: &str, access: Access, teams: &[String]) -> Vec<String> {
    let mut scopes = admin_scopes(uuid);
    scopes.extend(teams.iter().map(|team| format!("bosh.teams.{team}.admin")));
    if access == Access::Read {
        scopes.extend(read_scopes(uuid));
        scopes.extend(teams.iter().map(|team| format!("bosh.teams.{team}.read")));
    }
    scopes
}

/// Refuses a caller without access to the object.
pub fn require_object(
    who: &Identity,
    uuid: &str,
    access: Access,
    teams: &[String],
) -> Result<(), Error> {
    if allows(who, uuid, access, teams) {
        return Ok(());
    }
    Err(refused(&object_scopes(uuid, access, teams)))
}

fn refused(scopes: &[String]) -> Error {
    Error::new(
        code::UNAUTHORIZED,
        format!("Require one of the scopes: {}", scopes.join(", ")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(scopes: &[&str]) -> Identity {
        Identity {
            user: "u".into(),
            scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
        }
    }

    #[test]
    fn refusals_name_the_scopes_as_the_original_does() {
        let error = require(&who(&["bosh.read"]), "deadbeef", Permission::Admin).unwrap_err();
        assert_eq!(
            error.message,
            "Require one of the scopes: bosh.admin, bosh.deadbeef.admin"
        );
        let error = require(
            &who(&["bosh.releases.upload"]),
            "deadbeef",
            Permission::ReadReleases,
        )
        .unwrap_err();
        assert_eq!(
            error.message,
            "Require one of the scopes: bosh.admin, bosh.deadbeef.admin, bosh.read, bosh.deadbeef.read"
        );
        assert_eq!(error.status, 401);
    }

    #[test]
    fn team_admins_reach_their_own_objects_only() {
        let alice = who(&["bosh.teams.alpha.admin"]);
        assert!(require(&alice, "d", Permission::ListDeployments).is_ok());
        assert!(require(&alice, "d", Permission::Read).is_err());
        assert!(allows(&alice, "d", Access::Admin, &["alpha".into()]));
        assert!(!allows(&alice, "d", Access::Read, &["beta".into()]));
        let reader = who(&["bosh.teams.alpha.read"]);
        assert!(allows(&reader, "d", Access::Read, &["alpha".into()]));
        assert!(!allows(&reader, "d", Access::Admin, &["alpha".into()]));
        assert_eq!(alice.admin_teams("d"), ["alpha"]);
        assert!(
            who(&["bosh.admin", "bosh.teams.alpha.admin"])
                .admin_teams("d")
                .is_empty()
        );
    }
}
