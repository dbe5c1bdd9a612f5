//! Compiled packages of an upload, and the key that says what they were compiled with
//! (releases-and-templates.md §11 and §12.3).

use release_archive::Kind;
use release_archive::manifest::CompiledPackageRef;
use serde_json::{Value, json};

use super::upload::UploadWork;
use crate::blobs;
use crate::error::{Error, code};
use crate::store::compiled_packages::{self, CompiledPackage};
use crate::store::releases::{self as rows, Package};

/// A package as far as the dependency key goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiled {
    pub name: String,
    pub version: String,
    pub stemcell: String,
    pub dependencies: Vec<String>,
}

impl Compiled {
    /// A package that is here, for any stemcell.
    pub(super) fn of_row(package: &Package) -> Compiled {
        Compiled {
            name: package.name.clone(),
            version: package.fingerprint.clone(),
            stemcell: String::new(),
            dependencies: package.dependencies.clone(),
        }
    }

    pub(super) fn of(package: &CompiledPackageRef) -> Compiled {
        Compiled {
            name: package.package.name.clone(),
            version: package.package.version.clone(),
            stemcell: package.stemcell.clone(),
            dependencies: package.package.dependencies.clone(),
        }
    }
}

/// The JSON text over a package's dependencies: by name, each with its own dependencies if it has some.
pub fn dependency_key(packages: &[Compiled], name: &str) -> String {
    dependencies(packages, name).to_string()
}

fn dependencies(packages: &[Compiled], name: &str) -> Value {
    let find = |name: &str| packages.iter().find(|package| package.name == name);
    let mut direct: Vec<&Compiled> = find(name)
        .into_iter()
        .flat_map(|package| &package.dependencies)
        .filter_map(|dependency| find(dependency))
        .collect();
    direct.sort_by(|a, b| a.name.cmp(&b.name));
    direct
        .into_iter()
        .map(|package| {
            if package.dependencies.is_empty() {
                json!([package.name, package.version])
            } else {
                json!([
                    package.name,
                    package.version,
                    dependencies(packages, &package.name)
                ])
            }
        })
        .collect()
}

/// `os/version` apart.
pub(super) fn stemcell_of(text: &str) -> (&str, &str) {
    text.split_once('/').unwrap_or((text, ""))
}

impl UploadWork<'_> {
    /// Records the compiled packages of a compiled release that are not here yet.
    pub(super) async fn compiled_packages(&self) -> Result<(), Error> {
        let Some(compiled) = &self.manifest.compiled_packages else {
            return Ok(());
        };
        let db = self.services.store.pool();
        let nodes: Vec<Compiled> = compiled.iter().map(Compiled::of).collect();
        let packages = rows::packages_of(db, self.version.id).await?;
        let mut new = Vec::new();
        for one in compiled {
            let row = packages
                .iter()
                .find(|row| row.name == one.package.name && row.version == one.package.version)
                .ok_or(crate::store::Error::RowNotFound)?;
            let same_dependencies = |row: &Package| {
                let (mut a, mut b) = (row.dependencies.clone(), one.package.dependencies.clone());
                a.sort();
                b.sort();
                a == b
            };
            if !same_dependencies(row) {
                let text = format!(
                    "The uploaded release contains package dependencies in '{}' that do not match database records.",
                    one.package.name
                );
                return Err(Error::new(code::RELEASE_DEPENDENCIES_DO_NOT_MATCH, text));
            }
            let (os, version) = stemcell_of(&one.stemcell);
            let key = dependency_key(&nodes, &one.package.name);
            let known = compiled_packages::find(db, row.id, os, version, &key).await?;
            match known {
                None => new.push((one, row, key)),
                Some(known) if self.fix => self.replace_compiled(one, &known).await?,
                Some(_) => {}
            }
        }
        let stage =
            self.context
                .events
                .stage("Creating new compiled packages", &[], new.len() as u64);
        for (one, row, key) in new {
            self.context.checkpoint().await?;
            let step = format!(
                "{}/{} for {}",
                one.package.name, one.package.version, one.stemcell
            );
            stage.run(step, self.new_compiled(one, row, &key)).await?;
        }
        Ok(())
    }

    async fn new_compiled(
        &self,
        one: &CompiledPackageRef,
        row: &Package,
        key: &str,
    ) -> Result<(), Error> {
        let db = self.services.store.pool();
        let (os, version) = stemcell_of(&one.stemcell);
        let id = self.blob_id(
            Kind::CompiledPackage,
            &one.package.name,
            &one.package.fingerprint,
        );
        let same = self.same_compiled(row, os, version, key).await?;
        let digest = match same {
            Some(other) => {
                blobs::copy(
                    self.services,
                    &other.blob_id.into(),
                    &id,
                    blobs::Kind::CompiledPackage,
                )
                .await?;
                other.sha1
            }
            None => {
                self.store_archive(Kind::CompiledPackage, &one.package, &id)
                    .await?;
                one.package.digest.clone()
            }
        };
        let build = compiled_packages::next_build(db, row.id, os, version).await?;
        let new = CompiledPackage {
            id: 0,
            package_id: row.id,
            stemcell_os: os.to_owned(),
            stemcell_version: version.to_owned(),
            dependency_key: key.to_owned(),
            build,
            blob_id: id.as_str().to_owned(),
            sha1: digest,
        };
        compiled_packages::insert(db, &new).await?;
        Ok(())
    }

    /// The same compiled package of another release.
    async fn same_compiled(
        &self,
        row: &Package,
        os: &str,
        version: &str,
        key: &str,
    ) -> Result<Option<CompiledPackage>, Error> {
        if self.fix {
            return Ok(None);
        }
        let db = self.services.store.pool();
        let others =
            rows::packages_with_fingerprints(db, std::slice::from_ref(&row.fingerprint)).await?;
        for other in others
            .iter()
            .filter(|other| other.name == row.name && other.id != row.id)
        {
            if let Some(found) = compiled_packages::find(db, other.id, os, version, key).await? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    async fn replace_compiled(
        &self,
        one: &CompiledPackageRef,
        known: &CompiledPackage,
    ) -> Result<(), Error> {
        let db = self.services.store.pool();
        let id = self.blob_id(
            Kind::CompiledPackage,
            &one.package.name,
            &one.package.fingerprint,
        );
        self.store_archive(Kind::CompiledPackage, &one.package, &id)
            .await?;
        rows::set_compiled_blob(db, known.id, id.as_str(), &one.package.digest).await?;
        if known.blob_id != id.as_str() {
            blobs::delete(self.services, &known.blob_id, true).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dependency_key_lists_dependencies_by_name_with_their_own() {
        let package = |name: &str, dependencies: &[&str]| Compiled {
            name: name.to_owned(),
            version: format!("{name}1"),
            stemcell: String::new(),
            dependencies: dependencies.iter().map(|name| (*name).to_owned()).collect(),
        };
        let packages = [
            package("app", &["libs", "go"]),
            package("go", &[]),
            package("libs", &["go"]),
        ];
        assert_eq!(
            dependency_key(&packages, "app"),
            r#"[["go","go1"],["libs","libs1",[["go","go1"]]]]"#
        );
        assert_eq!(dependency_key(&packages, "go"), "[]");
    }
}
