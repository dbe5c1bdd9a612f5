//! Where the kernel refuses namespaces and mounts, as inside an ordinary container.

use std::time::Duration;

use e2e::{Environment, wait_for};

const WITHOUT: [&str; 5] = [
    "setpriv",
    "--bounding-set=-sys_admin,-net_admin",
    "--inh-caps=-sys_admin,-net_admin",
    "--ambient-caps=-all",
    "--",
];

#[test]
fn a_deployment_works_without_the_right_to_make_namespaces() {
    let mut environment = Environment::prepare_under(&WITHOUT);
    let before = environment.inventory();
    let said = environment.start();
    assert!(
        said.contains("plainly"),
        "it is said that isolation is plain: {said}"
    );
    environment.fill();
    let run = environment.deploy(&[]);
    assert_eq!(run.code, 0, "{}", run.text());
    environment
        .curl(&[
            "-H",
            "Content-Type: text/plain",
            "--data-binary",
            "plain",
            &environment.router("entries"),
        ])
        .expect("the guestbook takes an entry");
    environment.ok(&["-d", "guestbook", "recreate", "store"]);
    let entries = wait_for("the entries", Duration::from_secs(20), || {
        environment.curl(&[&environment.router("entries")])
    });
    assert!(entries.contains("plain\n"), "{entries}");

    let run = environment.run(&["-d", "guestbook", "ssh", "app/0", "-c", "id -un"]);
    assert_eq!(run.code, 0, "{}", run.text());
    assert!(
        run.text()
            .contains("This computer system is for authorized use only."),
        "{}",
        run.text()
    );

    environment.ok(&["-d", "guestbook", "delete-deployment"]);
    environment.down();
    assert_eq!(environment.inventory(), before);
}
