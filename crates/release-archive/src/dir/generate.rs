//! Starting a release folder and its jobs and packages (`docs/spec/releases-and-templates.md` §9.1).

use super::ReleaseDir;
use super::blobs;
use super::config::Config;
use super::git;
use crate::problem::{Problem, Within};

/// What a release's repository does not keep.
const IGNORED: &str = "\
config/private.yml
blobs
dev_releases
releases/*.tgz
releases/**/*.tgz
.dev_builds
.final_builds/jobs/**/*.tgz
.final_builds/packages/**/*.tgz
.DS_Store
.idea
*.swp
*~
*#
#*
";

impl ReleaseDir {
    /// Makes the folders and the configuration of a new release, named after the folder; with `git`, a repository too.
    pub fn init(&self, git: bool) -> Result<(), Problem> {
        for name in ["jobs", "packages", "src"] {
            fs_err::create_dir_all(self.root.join(name)).within(|| format!("Creating {name}/"))?;
        }
        let folder = self
            .root
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        let name = folder.strip_suffix("-release").unwrap_or(&folder);
        Config::load(&self.root)?.save_name(name)?;
        fs_err::write(self.root.join("config/blobs.yml"), "--- {}\n")
            .within(|| "Initing blobs.yml".to_owned())
            .within(|| "Initing blobs".to_owned())?;
        if git {
            git::init(&self.root)?;
            fs_err::write(self.root.join(".gitignore"), IGNORED)
                .within(|| "Creating .gitignore file".to_owned())?;
        }
        Ok(())
    }

    /// Makes an empty job. One that is there is left alone, and an error.
    pub fn generate_job(&self, name: &str) -> Result<(), Problem> {
        let spec =
            format!("---\nname: {name}\n\ntemplates: {{}}\n\npackages: []\n\nproperties: {{}}\n");
        self.generate("Job", "jobs", name, &[("spec", &spec), ("monit", "")])?;
        fs_err::create_dir_all(self.root.join("jobs").join(name).join("templates"))
            .within(|| format!("Creating job '{name}' templates dir"))
    }

    /// Makes an empty package. One that is there is left alone, and an error.
    pub fn generate_package(&self, name: &str) -> Result<(), Problem> {
        let spec = format!("---\nname: {name}\n\ndependencies: []\n\nfiles: []\n");
        let files = [("spec", spec.as_str()), ("packaging", "set -e\n")];
        self.generate("Package", "packages", name, &files)
    }

    fn generate(
        &self,
        what: &str,
        parent: &str,
        name: &str,
        files: &[(&str, &str)],
    ) -> Result<(), Problem> {
        let folder = self.root.join(parent).join(name);
        if folder.exists() {
            return Err(Problem::new(format!(
                "{what} '{name}' at '{}' already exists",
                folder.display()
            )));
        }
        let what = what.to_lowercase();
        fs_err::create_dir_all(&folder).within(|| format!("Creating {what} '{name}' dir"))?;
        for (file, content) in files {
            fs_err::write(folder.join(file), content)
                .within(|| format!("Creating {what} '{name}' {file} file"))?;
        }
        Ok(())
    }

    /// Deletes all that was built and downloaded: `.dev_builds`, `dev_releases`, `.blobs`, `blobs`.
    pub fn reset(&self) -> Result<(), Problem> {
        for folder in [".dev_builds", "dev_releases", ".blobs", "blobs"] {
            blobs::remove(&self.root.join(folder)).within(|| format!("Removing {folder}/"))?;
        }
        Ok(())
    }
}
