//! `ExternalCpi` against executables that behave and misbehave: real processes, written as shell scripts.

use cpi::{
    AttachDisk, CallLog, Cpi, CreateDisk, CreateVm, Error, ExternalCpi, ExternalCpiConfig,
    FaultKind,
};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const INFO: &str = r#"{"result":{"stemcell_formats":["x"],"api_version":3},"error":null,"log":""}"#;

/// A folder with an executable `cpi` in it: it answers `info`, and runs `body` for anything else, with the request in `$request`.
struct Script {
    folder: tempfile::TempDir,
}

impl Script {
    fn new(body: &str) -> Script {
        Script::answering_info(INFO, body)
    }

    fn answering_info(info: &str, body: &str) -> Script {
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            "#!/bin/sh\nhere={}\nrequest=$(cat)\ncase $request in *'\"method\":\"info\"'*) echo '{info}'; exit;; esac\n{body}\n",
            folder.path().display()
        );
        let path = folder.path().join("cpi");
        fs_err::write(&path, text).unwrap();
        fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        Script { folder }
    }

    fn config(&self) -> ExternalCpiConfig {
        let mut config = ExternalCpiConfig::new(self.path("cpi"), self.path("spool"), "uuid-1");
        config.timeout = Duration::from_secs(60);
        config
    }

    fn cpi(&self) -> ExternalCpi {
        ExternalCpi::new(self.config())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

#[derive(Default)]
struct Lines(Mutex<Vec<String>>);

impl CallLog for Lines {
    fn cpi(&self, line: &str) {
        self.0.lock().unwrap().push(line.to_string());
    }
    fn debug(&self, text: &str) {
        self.0.lock().unwrap().push(format!("debug: {text}"));
    }
}

fn create_vm() -> CreateVm {
    CreateVm {
        agent_id: "agent-1".into(),
        stemcell_cid: "sc".into(),
        cloud_properties: json!({}),
        networks: Default::default(),
        disk_cids: vec![],
        env: json!({"bosh": {"password": "S-ecret-1"}}),
        stemcell_api_version: Some(3),
    }
}

async fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn lines(path: &Path) -> usize {
    fs_err::read_to_string(path)
        .unwrap_or_default()
        .lines()
        .count()
}

#[tokio::test]
async fn a_request_has_what_the_contract_asks_for_and_nobody_sees_its_secrets() {
    let script = Script::new(
        r#"printf %s "$request" >$here/request; env | sort >$here/env
           echo "trying with hunter2hunter2" >&2
           echo '{"result":["vm-1",{}],"error":null,"log":"password was S-ecret-1"}'"#,
    );
    let mut config = script.config();
    config.properties = json!({"password": "hunter2hunter2"})
        .as_object()
        .unwrap()
        .clone();
    let log = Arc::new(Lines::default());
    let cpi = ExternalCpi::new(config).with_log(log.clone());
    let created = cpi.create_vm(create_vm()).await.unwrap();
    assert_eq!(created.vm_cid, "vm-1");
    let request: Value =
        serde_json::from_slice(&fs_err::read(script.path("request")).unwrap()).unwrap();
    assert_eq!(request["api_version"], 3);
    assert_eq!(request["arguments"][0], "agent-1");
    let context = &request["context"];
    assert_eq!(context["director_uuid"], "uuid-1");
    assert_eq!(context["vm"], json!({"stemcell": {"api_version": 3}}));
    assert_eq!(context["password"], "hunter2hunter2");
    let id = context["request_id"]
        .as_str()
        .unwrap()
        .strip_prefix("cpi-")
        .unwrap();
    assert!((100_000..1_000_000).contains(&id.parse::<u32>().unwrap()));
    let environment = fs_err::read_to_string(script.path("env")).unwrap();
    for line in environment.lines() {
        let name = line.split('=').next().unwrap();
        assert!(
            ["PATH", "HOME", "TMPDIR", "PWD", "OLDPWD", "SHLVL", "_"].contains(&name),
            "{line}"
        );
    }
    let shown = log.0.lock().unwrap().join("\n");
    assert!(shown.contains("trying with <redacted>"), "{shown}");
    assert!(
        !shown.contains("hunter2") && !shown.contains("S-ecret"),
        "{shown}"
    );
}

#[tokio::test]
async fn every_breach_of_the_contract_is_an_error_that_names_it() {
    let cases = [
        (
            "exit 3",
            "Invalid CPI response - ParserError - it wrote nothing to stdout",
        ),
        (
            "echo Traceback: boom; exit 1",
            "stdout starts with: Traceback: boom",
        ),
        (
            r#"echo '{"result":null,"error":null}'"#,
            "SchemaValidationError: Missing key log",
        ),
        (
            r#"echo '{"result":"yes","error":null,"log":""}'"#,
            "'has_vm' with a string where a boolean was expected",
        ),
        (
            r#"echo '{"result":null,"error":{"type":"Bosh::Clouds::CloudError","message":"m","ok_to_retry":false},"log":""}'"#,
            "CPI error 'Bosh::Clouds::CloudError' with message 'm' in 'has_vm' CPI method (CPI request ID: 'cpi-",
        ),
        (
            r#"echo '{"result":null,"error":{"type":"Odd","message":"m","ok_to_retry":false},"log":""}'"#,
            "Unknown CPI error 'Odd' with message 'm' in 'has_vm' CPI method",
        ),
        ("kill -9 $$", "exit status 137"),
    ];
    for (body, expected) in cases {
        let script = Script::new(body);
        let error = script.cpi().has_vm(&"vm-1".into()).await.expect_err(body);
        assert!(error.to_string().contains(expected), "{body}: {error}");
        assert_eq!(
            fs_err::read_dir(script.path("spool")).unwrap().count(),
            0,
            "{body} left its folder"
        );
    }
}

#[tokio::test]
async fn versions_are_negotiated_and_hints_checked() {
    let old = Script::answering_info(
        r#"{"result":{"stemcell_formats":[],"api_version":1},"error":null,"log":""}"#,
        "",
    );
    let error = old.cpi().info().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "CPI API version 1 is not supported. Minimum required version is 2."
    );
    let silent = Script::answering_info(
        r#"{"result":{"stemcell_formats":[]},"error":null,"log":""}"#,
        "",
    );
    assert_eq!(
        silent.cpi().info().await.unwrap_err().to_string(),
        "CPI must report api_version via info"
    );
    let missing = ExternalCpi::new(ExternalCpiConfig::new(
        "/nowhere/cpi",
        "/nowhere/spool",
        "u",
    ));
    assert_eq!(
        missing.info().await.unwrap_err().to_string(),
        "Failed to run cpi: '/nowhere/cpi' is not executable"
    );
    let hintless = Script::new(r#"echo '{"result":"","error":null,"log":""}'"#);
    let request = AttachDisk {
        vm_cid: "v".into(),
        disk_cid: "d".into(),
        stemcell_api_version: Some(3),
    };
    let error = hintless.cpi().attach_disk(request).await.unwrap_err();
    assert_eq!(error.kind(), Some(&FaultKind::AttachDiskResponseError));
}

#[tokio::test]
async fn a_call_that_hangs_is_stopped_with_all_it_started() {
    let script = Script::new("sleep 1000 & echo $! >$here/child; wait");
    let mut config = script.config();
    config.timeout = Duration::from_millis(500);
    let error = ExternalCpi::new(config)
        .has_vm(&"vm-1".into())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error}");
    assert!(error.hint().is_some());
    let child = fs_err::read_to_string(script.path("child")).unwrap();
    let stat = format!("/proc/{}/stat", child.trim());
    wait_for("the end of the CPI's child", || {
        let text = std::fs::read_to_string(&stat).unwrap_or_default();
        text.is_empty() || text.contains(") Z ")
    })
    .await;
}

#[tokio::test]
async fn the_reply_of_create_vm_survives_its_caller() {
    let script = Script::new(
        r#"echo run >>$here/runs
           while [ ! -f $here/go ]; do sleep 0.02; done
           echo '{"result":["vm-1",{}],"error":null,"log":""}'"#,
    );
    let first = script.cpi();
    let call = tokio::spawn(async move { first.create_vm(create_vm()).await });
    wait_for("the first call", || lines(&script.path("runs")) == 1).await;
    // The director dies in the middle of the call.
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    // The next one asks for the same VM while the process still runs, and again when it has ended.
    let second = script.cpi();
    let call = tokio::spawn(async move { second.create_vm(create_vm()).await });
    fs_err::write(script.path("go"), "").unwrap();
    assert_eq!(call.await.unwrap().unwrap().vm_cid, "vm-1");
    let third = script.cpi();
    assert_eq!(third.create_vm(create_vm()).await.unwrap().vm_cid, "vm-1");
    assert_eq!(lines(&script.path("runs")), 1, "it ran more than once");
    let unsettled = third.unsettled("create_vm").await.unwrap();
    assert_eq!(unsettled, [("agent-1".to_owned(), json!(["vm-1", {}]))]);
    // Once recorded, the same call is a new one.
    third.settle("agent-1").await;
    assert!(third.unsettled("create_vm").await.unwrap().is_empty());
    third.create_vm(create_vm()).await.unwrap();
    assert_eq!(lines(&script.path("runs")), 2);
}

#[tokio::test]
async fn a_lost_reply_is_surfaced_unless_the_cpi_can_be_asked_again() {
    let body = "echo run >>$here/runs; echo $PPID >$here/wrapper
        [ -f $here/calm ] || { kill -9 $PPID; exit; }
        echo '{\"result\":\"disk-1\",\"error\":null,\"log\":\"\"}'";
    let request = CreateDisk {
        size_mib: 1,
        cloud_properties: json!({}),
        vm_cid: None,
        idempotency_key: Some("key-1".into()),
    };
    for idempotent in [false, true] {
        let info = format!(
            r#"{{"result":{{"stemcell_formats":[],"api_version":2,"idempotent_creates":{idempotent}}},"error":null,"log":""}}"#
        );
        let script = Script::answering_info(&info, body);
        let cpi = script.cpi();
        let (killed, asked) = (cpi.clone(), request.clone());
        // As if director and wrapper died together.
        let call = tokio::spawn(async move { killed.create_disk(asked).await });
        wait_for("the call", || lines(&script.path("runs")) == 1).await;
        call.abort();
        let _ = call.await;
        fs_err::create_dir_all(script.path("spool/create_disk-key-1")).unwrap();
        fs_err::write(
            script.path("spool/create_disk-key-1/pid"),
            "1 (x) S 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 7",
        )
        .unwrap();
        fs_err::write(script.path("calm"), "").unwrap();
        match cpi.create_disk(request.clone()).await {
            Ok(cid) => {
                assert!(idempotent);
                assert_eq!(cid, "disk-1");
            }
            Err(error) => {
                assert!(!idempotent);
                assert!(matches!(error, Error::ReplyLost { .. }), "{error}");
            }
        }
    }
}
