//! Importing stemcells.

use serde_json::json;

use super::Planned;
use super::driver::{Made, World, ensure, text};

pub(super) const CHECKS: &[Planned] = &[
    Planned(
        12,
        "the tags of version 3 are taken, and may be missing",
        tags_are_optional,
    ),
    Planned(13, "a broken image is refused", broken_image),
    Planned(15, "deleting a stemcell twice succeeds", delete_twice),
];

fn tags_are_optional(world: &mut World) -> Result<(), String> {
    world.stemcell()?;
    let profile = world.profile.stemcell.clone();
    let arguments = json!([profile.image, profile.cloud_properties, {"tags": {"a": "b"}}]);
    let answer = world.call_with("create_stemcell", arguments, world.context(), Some(3))?;
    let cid = text("create_stemcell", &answer.map_err(|fault| fault.message)?)?;
    if cid != world.stemcell()? {
        world.note(Made::Stemcell(cid));
    }
    Ok(())
}

fn broken_image(world: &mut World) -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    let image = folder.path().join("image");
    for content in ["", "this is not an archive"] {
        fs_err::write(&image, content).map_err(|e| e.to_string())?;
        let fault = world.must_fail("create_stemcell", json!([image, {}]))?;
        ensure(!fault.message.is_empty(), "the error says nothing")?;
    }
    Ok(())
}

fn delete_twice(world: &mut World) -> Result<(), String> {
    for cid in [
        "sc-00000000-0000-0000-0000-000000000000",
        "sc-00000000-0000-0000-0000-000000000000",
    ] {
        world.must("delete_stemcell", json!([cid]))?;
    }
    Ok(())
}
