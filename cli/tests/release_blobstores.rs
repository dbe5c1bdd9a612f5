//! Blobs and final releases of a release folder in stores behind HTTP: an S3 that checks every signature, and a Google
//! storage that gives tokens for signed assertions only.

mod support;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use support::user::User;
use support::{Answer, Request, plain_server};

type Objects = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

/// A release folder with a job, a package and a blob that is only here.
struct Folder(User);

impl Folder {
    fn new(blobstore: &str, private: &str) -> Self {
        let folder = Folder(User::new("shop"));
        folder.write(
            "config/final.yml",
            &format!("name: shop\nblobstore:\n{blobstore}"),
        );
        folder.write("config/private.yml", private);
        folder.write("config/blobs.yml", "--- {}\n");
        folder.write(
            "packages/tool/spec",
            "name: tool\ndependencies: []\nfiles: [tool/*]\n",
        );
        folder.write("packages/tool/packaging", "set -e\n");
        folder.write(
            "jobs/web/spec",
            "name: web\ntemplates: {}\npackages: [tool]\n",
        );
        folder.write("f", "a tool");
        folder.succeed(&["add-blob", "f", "tool/f"], &[]);
        folder
    }

    fn path(&self, below: &str) -> PathBuf {
        self.0.path(below)
    }

    fn write(&self, path: &str, content: &str) {
        self.0.write(path, content);
    }

    fn read(&self, path: &str) -> String {
        self.0.read(path)
    }

    fn succeed(&self, arguments: &[&str], variables: &[(&str, &str)]) -> String {
        self.0.succeed_with(arguments, variables)
    }

    fn fail(&self, arguments: &[&str], variables: &[(&str, &str)]) -> String {
        self.0.fail_with(arguments, variables)
    }

    /// As on another machine: what version control does not keep is gone.
    fn forget(&self) {
        self.succeed(&["reset-release"], &[]);
        let cache = self.0.home().join(".bosh/cache");
        if cache.exists() {
            std::fs::remove_dir_all(cache).expect("the cache");
        }
    }
}

/// Uploads a blob and a final release, loses everything here, and gets it back from the store.
fn there_and_back(folder: &Folder, objects: &Objects, variables: &[(&str, &str)]) {
    folder.succeed(&["upload-blobs"], variables);
    let index = folder.read("config/blobs.yml");
    assert!(index.contains("  object_id: "), "{index}");
    folder.succeed(&["create-release", "--final", "--force"], variables);
    assert_eq!(objects.lock().expect("no panic").len(), 3);

    folder.forget();
    folder.succeed(&["sync-blobs"], variables);
    assert_eq!(folder.read("blobs/tool/f"), "a tool");
    folder.forget();
    let manifest = "releases/shop/shop-1.yml";
    folder.succeed(
        &["create-release", manifest, "--tarball", "s.tgz"],
        variables,
    );
    let listed = folder.succeed(&["inspect-local-release", "s.tgz"], &[]);
    assert!(
        listed.contains("web/") && listed.contains("tool/"),
        "{listed}"
    );
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// Whether the request carries a signature of version 4 that these credentials make, in its address.
fn is_signed(request: &Request, key: &str, secret: &str, region: &str) -> bool {
    let Some((path, query)) = request.target.split_once('?') else {
        return false;
    };
    let Some((signed, signature)) = query.split_once("&X-Amz-Signature=") else {
        return false;
    };
    let fields: BTreeMap<&str, &str> = signed
        .split('&')
        .filter_map(|field| field.split_once('='))
        .collect();
    let time = fields["X-Amz-Date"];
    let day = &time[..8];
    let scope = format!("{day}/{region}/s3/aws4_request");
    let credential = format!("{key}/{scope}").replace('/', "%2F");
    if fields["X-Amz-Credential"] != credential {
        return false;
    }
    let names = fields["X-Amz-SignedHeaders"].replace("%3B", ";");
    // What the server acts on must be signed.
    let encryption = "x-amz-server-side-encryption";
    if !request.header(encryption).is_empty() && !names.contains(encryption) {
        return false;
    }
    let headers: String = names
        .split(';')
        .map(|name| format!("{name}:{}\n", request.header(name)))
        .collect();
    let canonical = format!(
        "{}\n{path}\n{signed}\n{headers}\n{names}\nUNSIGNED-PAYLOAD",
        request.method
    );
    let text = format!(
        "AWS4-HMAC-SHA256\n{time}\n{scope}\n{}",
        hex::encode(Sha256::digest(canonical.as_bytes()))
    );
    let mut signing = mac(format!("AWS4{secret}").as_bytes(), day);
    for part in [region, "s3", "aws4_request"] {
        signing = mac(&signing, part);
    }
    hex::encode(mac(&signing, &text)) == signature
}

/// Keeps what is put, by its path without the query.
fn keep(objects: &Objects, request: &Request) -> Answer {
    let path = request.target.split('?').next().unwrap_or_default();
    let mut objects = objects.lock().expect("no panic");
    match request.method.as_str() {
        "PUT" => {
            objects.insert(path.to_owned(), request.body.clone());
            Answer::ok("")
        }
        "GET" if objects.contains_key(path) => Answer::ok(objects[path].clone()),
        _ => Answer::status(404, "<Error><Code>NoSuchKey</Code></Error>"),
    }
}

fn s3_server(objects: &Objects) -> (String, u16) {
    let objects = objects.clone();
    let address = plain_server(move |request| {
        let public = request.method == "GET" && !request.target.contains('?');
        if !public && !is_signed(request, "key", "very secret", "eu-west-1") {
            return Answer::status(403, "<Error><Code>SignatureDoesNotMatch</Code></Error>");
        }
        if request.method == "PUT" && request.header("x-amz-server-side-encryption") != "AES256" {
            return Answer::status(403, "<Error><Code>AccessDenied</Code></Error>");
        }
        keep(&objects, request)
    });
    let (host, port) = address.split_once(':').expect("a port");
    (host.to_owned(), port.parse().expect("a number"))
}

#[test]
fn blobs_and_final_releases_go_to_s3_with_signed_requests_and_come_back() {
    let objects = Objects::default();
    let (host, port) = s3_server(&objects);
    let blobstore = format!(
        "  provider: s3\n  options: {{bucket_name: bucket, folder_name: some/folder, host: {host}, port: {port}, \
         use_ssl: false, region: eu-west-1, server_side_encryption: AES256}}\n"
    );
    let private = "blobstore: {options: {access_key_id: key, secret_access_key: very secret}}\n";
    let folder = Folder::new(&blobstore, private);
    there_and_back(&folder, &objects, &[]);
    let all_in_folder = objects
        .lock()
        .expect("no panic")
        .keys()
        .all(|path| path.starts_with("/bucket/some/folder/"));
    assert!(all_in_folder);

    // The same credentials from the environment, and from a profile.
    let variables = [
        ("AWS_ACCESS_KEY_ID", "key"),
        ("AWS_SECRET_ACCESS_KEY", "very secret"),
    ];
    folder.write(
        "config/private.yml",
        "blobstore: {options: {credentials_source: env_or_profile}}\n",
    );
    folder.succeed(&["add-blob", "f", "tool/g"], &[]);
    folder.succeed(&["upload-blobs"], &variables);
    folder.succeed(&["add-blob", "f", "tool/h"], &[]);
    let without = folder.fail(&["upload-blobs"], &[]);
    assert!(without.contains("no profile 'default'"), "{without}");
    std::fs::create_dir(folder.0.home().join(".aws")).expect("a folder");
    let profile = "[ci]\naws_access_key_id = key\naws_secret_access_key = very secret\n";
    std::fs::write(folder.0.home().join(".aws/credentials"), profile).expect("written");
    folder.succeed(&["upload-blobs"], &[("AWS_PROFILE", "ci")]);

    // Without credentials, reading is all.
    folder.write("config/private.yml", "{}\n");
    std::fs::remove_dir_all(folder.path("blobs")).expect("blobs");
    folder.succeed(&["sync-blobs"], &[]);
    folder.succeed(&["add-blob", "f", "tool/i"], &[]);
    let refused = folder.fail(&["upload-blobs"], &[]);
    assert!(
        refused.contains("the client operates in read only mode"),
        "{refused}"
    );

    // A wrong key is refused by the server, and shown nowhere.
    folder.write(
        "config/private.yml",
        "blobstore: {options: {access_key_id: key, secret_access_key: another secret}}\n",
    );
    let refused = folder.fail(&["upload-blobs"], &[]);
    assert!(
        refused.contains("Blob upload 'tool/i' failed\n"),
        "{refused}"
    );
    assert!(refused.contains("with status 403"), "{refused}");
    assert!(
        !refused.contains("another secret") && !refused.contains("Signature="),
        "{refused}"
    );
    let index = folder.read("config/blobs.yml");
    assert!(
        index.contains("tool/i:\n  size: 6\n  sha: sha256:"),
        "{index}"
    );
}

#[test]
fn a_damaged_blob_is_never_taken_into_the_folder() {
    let objects = Objects::default();
    let (host, port) = s3_server(&objects);
    let blobstore = format!(
        "  provider: s3\n  options: {{bucket_name: bucket, host: {host}, port: {port}, use_ssl: false, \
         region: eu-west-1, server_side_encryption: AES256}}\n"
    );
    let private = "blobstore: {options: {access_key_id: key, secret_access_key: very secret}}\n";
    let folder = Folder::new(&blobstore, private);
    folder.succeed(&["upload-blobs"], &[]);
    std::fs::remove_dir_all(folder.path("blobs")).expect("blobs");
    for object in objects.lock().expect("no panic").values_mut() {
        object.push(b'!');
    }
    let error = folder.fail(&["sync-blobs"], &[]);
    assert!(error.contains("Checking downloaded blob"), "{error}");
    assert!(!folder.path("blobs/tool/f").exists());
}

#[test]
fn blobs_and_final_releases_go_to_googles_storage_with_a_token_for_the_account() {
    let key = KeyPair::generate(KeySize::Rsa2048).expect("a key");
    let private: Pkcs8V1Der<'_> = key.as_der().expect("PKCS #8");
    let pem = format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
        STANDARD.encode(private.as_ref())
    );
    let public: PublicKeyX509Der<'_> = key.public_key().as_der().expect("a public key");
    let public = public.as_ref().to_vec();
    let tokens = plain_server(move |request| {
        let form: BTreeMap<_, _> = url::form_urlencoded::parse(&request.body)
            .into_owned()
            .collect();
        let assertion = &form["assertion"];
        let (signed, signature) = assertion.rsplit_once('.').expect("three parts");
        let signature = URL_SAFE_NO_PAD.decode(signature).expect("base64");
        let claims = signed.split('.').nth(1).expect("claims");
        let claims: Value =
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).expect("base64")).expect("JSON");
        let valid = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &public)
            .verify(signed.as_bytes(), &signature)
            .is_ok();
        if valid && claims["iss"] == "ci@example.com" {
            Answer::ok(json!({"access_token": "a token", "token_type": "Bearer"}).to_string())
        } else {
            Answer::status(400, "{}")
        }
    });
    let objects = Objects::default();
    let kept = objects.clone();
    let storage = plain_server(move |request| {
        if request.header("authorization") != "Bearer a token" {
            return Answer::status(401, "");
        }
        if request.method == "PUT" && request.header("x-goog-storage-class") != "NEARLINE" {
            return Answer::status(400, "");
        }
        keep(&kept, request)
    });
    let json_key = json!({
        "type": "service_account", "client_email": "ci@example.com", "private_key": pem,
        "token_uri": format!("http://{tokens}/token"),
    });
    let private = json!({"blobstore": {"options": {
        "credentials_source": "static", "json_key": json_key.to_string(),
    }}});
    let blobstore = "  provider: gcs\n  options: {bucket_name: bucket, storage_class: NEARLINE}\n";
    let folder = Folder::new(blobstore, &private.to_string());
    let variables = [("STORAGE_EMULATOR_HOST", storage.as_str())];
    there_and_back(&folder, &objects, &variables);

    folder.write("config/private.yml", "{}\n");
    folder.succeed(&["add-blob", "f", "tool/g"], &[]);
    let refused = folder.fail(&["upload-blobs"], &variables);
    assert!(refused.contains("with status 401"), "{refused}");
}
