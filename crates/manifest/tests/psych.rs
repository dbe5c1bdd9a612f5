//! The director's YAML against real Ruby: what plain scalars mean, and that what is written reads back.

use std::io::Write as _;
use std::process::{Command, Stdio};

use manifest::yaml::{self, Dialect, Value};

/// Runs a Ruby program with a JSON value on its standard input; its standard output is JSON.
fn ruby(program: &str, input: &serde_json::Value) -> serde_json::Value {
    let mut child = Command::new("ruby")
        .args(["-ryaml", "-rjson", "-rdate", "-e", program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("ruby is installed");
    let input = serde_json::to_vec(input).expect("a JSON value has a text");
    let mut stdin = child.stdin.take().expect("it is piped");
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().expect("ruby ends");
    writer
        .join()
        .expect("the writer ends")
        .expect("ruby reads all of its input");
    assert!(output.status.success(), "ruby failed");
    serde_json::from_slice(&output.stdout).expect("ruby answers JSON")
}

/// What Ruby makes of each text as a plain scalar: `[class, text]`.
const RESOLVE: &str = r#"
  scanner = Psych::ScalarScanner.new(Psych::ClassLoader::Restricted.new(%w[Symbol], []))
  puts JSON.generate(JSON.parse($stdin.read).map { |text|
    begin
      value = scanner.tokenize(text)
      text = value.is_a?(Float) ? (value.nan? ? 'NaN' : value.infinite? ? (value > 0 ? 'inf' : '-inf') : [value].pack('G').unpack1('H*')) : value.to_s
      [value.class.name, text]
    rescue Psych::DisallowedClass => e
      ['Refused', e.message]
    rescue ArgumentError
      ['Crash', '']
    end
  })
"#;

/// Our answer in the same form.
fn resolved(text: &str) -> (String, String) {
    // In brackets a text that can't be a plain scalar would not come through; a block item takes nearly all.
    let value = match yaml::parse(&format!("- {text}\n"), Dialect::Director) {
        Ok(Value::Sequence(items)) => items.into_iter().next().unwrap_or(Value::Null),
        Ok(other) => panic!("{text:?} made {other:?}"),
        Err(error) => return ("Refused".into(), error.psych()),
    };
    match value {
        Value::Null => ("NilClass".into(), String::new()),
        Value::Bool(true) => ("TrueClass".into(), "true".into()),
        Value::Bool(false) => ("FalseClass".into(), "false".into()),
        Value::Number(n) if n.is_f64() => {
            let float = n.as_f64().unwrap_or_default();
            let text = if float.is_finite() {
                format!("{:016x}", float.to_bits())
            } else {
                float.to_string()
            };
            ("Float".into(), text)
        }
        Value::Number(n) => ("Integer".into(), n.to_string()),
        Value::String(text) => ("String".into(), text),
        other => panic!("{text:?} made {other:?}"),
    }
}

/// All texts of up to four characters that can matter to numbers, and words and dates on top.
fn plain_texts() -> Vec<String> {
    let alphabet = [
        "0", "1", "7", "8", "-", "+", ".", ":", "_", ",", "x", "b", "e", "o", "F", "é",
    ];
    let mut texts: Vec<String> = vec![];
    let mut longest = vec![String::new()];
    for _ in 0..4 {
        longest = longest
            .iter()
            .flat_map(|text| alphabet.iter().map(move |c| format!("{text}{c}")))
            .collect();
        texts.extend(longest.iter().cloned());
    }
    // These begin other nodes than a plain scalar, or end it.
    texts.retain(|text| {
        !(text == "-" || text.starts_with("- ") || text.ends_with(':') || text.starts_with(','))
    });
    texts.extend(
        [
            "yes",
            "Yes",
            "YES",
            "yEs",
            "no",
            "NO",
            "on",
            "On",
            "oN",
            "off",
            "OFF",
            "true",
            "True",
            "tRUE",
            "false",
            "FALSE",
            "y",
            "Y",
            "n",
            "N",
            "null",
            "Null",
            "NULL",
            "nULL",
            "~",
            "~x",
            "nil",
            "none",
            "0644",
            "0o644",
            "1_000",
            "1,000",
            "1_0_0",
            "1__0",
            "1e3",
            "1.5e3",
            "1.5e+3",
            "1.5E-3",
            "12:30",
            "12:30:45",
            "-12:30",
            "1:2:3:4",
            "12:60",
            "190:20:30.15",
            "1_0:30",
            "2026-11-21",
            "2026-1-2",
            "2026-13-01",
            "2026-11-21 10:00:00",
            "2001-12-14t21:59:43.10-05:00",
            "2001-12-14T21:59:43Z",
            "0123456789",
            "0x1F",
            "0X1F",
            "-0x1f",
            "0b101",
            "+0b1",
            ".inf",
            ".Inf",
            "-.INF",
            "+.inf",
            ".nan",
            ".NaN",
            "1.",
            "1.0",
            "-.5",
            "+1",
            "-1",
            "1.10",
            "1.2.3",
            "10.0.0.1",
            "1-2",
            "9223372036854775807",
            "-9223372036854775808",
            "18446744073709551615",
            "((var))",
            "/path",
            "a b",
            "1 2",
            "web/0",
            "=",
            "<<",
        ]
        .map(String::from),
    );
    texts
}

#[test]
fn plain_scalars_mean_what_ruby_says() {
    let texts = plain_texts();
    let expected = ruby(RESOLVE, &serde_json::json!(texts));
    let mut wrong = vec![];
    let mut refused = 0;
    for (text, expected) in texts.iter().zip(expected.as_array().expect("a list")) {
        let (class, value) = (
            expected[0].as_str().unwrap_or(""),
            expected[1].as_str().unwrap_or(""),
        );
        let (our_class, our_value) = resolved(text);
        let same = match class {
            // Such texts crash Ruby's reader; any answer is better.
            "Crash" => true,
            // A Symbol stays the text that it is written as.
            "Symbol" => our_class == "String" && our_value == *text,
            "Refused" => {
                refused += 1;
                our_class == "Refused" && our_value == value
            }
            _ => our_class == class && our_value == value,
        };
        if !same {
            wrong.push(format!(
                "{text:?}: Ruby {class} {value:?}, we {our_class} {our_value:?}"
            ));
        }
    }
    assert!(refused >= 3, "dates and times are refused");
    assert!(
        wrong.is_empty(),
        "{} differ:\n{}",
        wrong.len(),
        wrong[..wrong.len().min(40)].join("\n")
    );
}

/// The texts as values and keys of one document in our writing, read by Ruby.
const READ_BACK: &str = r#"
  puts JSON.generate(YAML.load(JSON.parse($stdin.read)))
"#;

#[test]
fn what_the_director_writes_ruby_reads_back() {
    let mut texts = plain_texts();
    texts.extend(
        [
            "",
            " lead",
            "trail ",
            "a: b",
            "a #b",
            "#c",
            "- x",
            "[x]",
            "{x}",
            "*x",
            "&x",
            "!x",
            "%x",
            "@x",
            "`x",
            "'x'",
            "\"x\"",
            "it's",
            "say \"hi\"",
            "?",
            "? x",
            "-",
            "|x",
            ">x",
            "x:",
            ":",
            ":sym",
            "one\ntwo",
            "one\ntwo\n",
            "one\n",
            "one\n\n",
            "\nlead",
            "  in\nsecond",
            "trail \nx",
            "x\n y",
            "tab\there",
            "\t",
            "cr\r\nlf",
            "caf\u{e9} \u{2603}",
            "\u{1F600}",
            "\u{7}",
            "\u{a0}x",
            "--- x",
            "...",
            "089",
            "a\u{85}b",
            "\u{2028}",
            "x, y",
            "key: {flow: 1}",
            "\u{feff}x",
            "\"q\"\nnext",
            "# c\nnext",
        ]
        .map(String::from),
    );
    texts.push("word ".repeat(60));
    texts.push(format!("{} end", "word  word ".repeat(20)));
    texts.push(format!(": {}", "word ".repeat(60)));
    texts.push(format!("tab\t{}", "w ".repeat(100)));
    let mut map = yaml::Mapping::new();
    for text in &texts {
        map.insert(
            Value::from(text.clone()),
            Value::Sequence(vec![Value::from(text.clone()), Value::Null]),
        );
    }
    map.insert(
        Value::from("nested"),
        Value::from(vec![Value::Mapping(map.clone()), Value::from(1.5)]),
    );
    let value = Value::Mapping(map);
    let text = yaml::to_director_string(&value);
    let expected = serde_json::to_value(&value).expect("all keys are strings");
    let read = ruby(READ_BACK, &serde_json::json!(text));
    for (key, expected) in expected.as_object().expect("a map") {
        assert_eq!(read.get(key), Some(expected), "key {key:?}");
    }
    assert_eq!(
        yaml::parse(&text, Dialect::Director).expect("we read what we write"),
        value
    );
}

#[test]
fn merges_duplicates_and_tags_are_read_as_ruby_reads_them() {
    let text = "
base: &base {a: 1, b: 2}
other: &other {b: 3, c: 4}
one: {a: 0, <<: *base, d: 5}
two: {<<: [*base, *other], z: 1}
after: {<<: *base, a: 9}
scalar: {<<: 5}
dup: 1
dup: 2
str: !!str 12
float: !!float 3
custom: !x 1
binary: !!binary aGVsbG8=
quoted: !!int '7'
";
    let expected = ruby(
        "puts JSON.generate(YAML.load(JSON.parse($stdin.read), aliases: true))",
        &serde_json::json!(text),
    );
    let value = yaml::parse(text, Dialect::Director).expect("it is YAML");
    assert_eq!(
        serde_json::to_value(&value).expect("all keys are strings"),
        expected
    );
}

#[test]
fn errors_have_the_words_and_the_place_that_ruby_gives() {
    let texts = [
        "a: b: c\n",
        "a:\n\tb: 1\n",
        "a: 1\n- b\n",
        "a: *nope\n",
        "a: [1, 2\n",
        "a: @x\n",
        "a: 'x\n",
        "a: \"\\q\"\n",
        "a:\n  - b\n c: 1\n",
        "a: {b: 1\nc: 2\n",
        "key\nother: 1\n",
        "a: 2026-11-21\n",
        "a: |\n  x\n y\n",
        "%YAML x\n",
        "a: \u{7}\n",
    ];
    let expected = ruby(
        "puts JSON.generate(JSON.parse($stdin.read).map { |text|
           begin; YAML.load(text, aliases: true); rescue => e; [e.class.name, e.message]; end })",
        &serde_json::json!(texts),
    );
    let ours = texts.map(|text| {
        let error = yaml::parse(text, Dialect::Director).expect_err("it is no YAML");
        serde_json::json!([error.psych_class(), error.psych()])
    });
    assert_eq!(serde_json::json!(ours), expected);
}

#[test]
fn what_the_yaml_specification_refuses_but_ruby_reads_is_read() {
    let texts = [
        "a: [\n  1,\n  2\n]\nb: 1\n",
        "a:\n  b: {\n    c: 1\n}\n",
        "a: \"x\ny\"\nb: 1\n",
        "a: {b: 1,\nc: 2}\n",
        "{\"a\": {\"b\": [1, 2]}}\n",
        "a: |\n  x",
        "a: >",
        "\u{feff}a: 1\n",
        "a: 1\r\nb: |\r\n  x\r\n  y\r\n",
        "a: 1\n---\nb: : 2\n",
    ];
    let expected = ruby(
        "puts JSON.generate(JSON.parse($stdin.read).map { |text| YAML.load(text) })",
        &serde_json::json!(texts),
    );
    let ours = texts.map(|text| yaml::parse(text, Dialect::Director).expect("it is read"));
    assert_eq!(
        serde_json::to_value(ours).expect("keys are strings"),
        expected
    );
}

#[test]
fn every_node_knows_its_line() {
    let text = "# head\nname: x\n\ninstance_groups:\n- name: a\n  jobs: [{name: j,\n    release: r}]\n- &b\n  name: b\n- *b\n";
    let document = yaml::parse_document(text, Dialect::Director).expect("it is YAML");
    let line = |path: &str| document.lines.of(path);
    assert_eq!(line("/name"), Some(2));
    assert_eq!(line("/instance_groups"), Some(4));
    assert_eq!(line("/instance_groups/0/jobs/0/release"), Some(7));
    assert_eq!(line("/instance_groups/1/name"), Some(9));
    assert_eq!(
        line("/instance_groups/2/name"),
        Some(10),
        "an alias is where it stands"
    );
    assert_eq!(
        line("/instance_groups/0/missing/deep"),
        Some(5),
        "else the nearest that is there"
    );
    assert_eq!(line("/nothing"), None);
}

#[test]
fn hostile_documents_are_refused_instead_of_filling_the_memory() {
    let mut laughs = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for i in 1..12 {
        let former = format!("*a{}, ", i - 1).repeat(10);
        laughs += &format!("a{i}: &a{i} [{}]\n", former.trim_end_matches(", "));
    }
    let deep = "[".repeat(5000) + &"]".repeat(5000);
    // Minutes, if all of it were looked at.
    let open = "[".repeat(1_000_000);
    for text in [laughs, deep, open] {
        for dialect in [Dialect::Director, Dialect::Cli] {
            yaml::parse(&text, dialect).expect_err("it is refused");
        }
    }
    yaml::parse("a: &a [*a]\n", Dialect::Cli).expect_err("it holds itself");
}
