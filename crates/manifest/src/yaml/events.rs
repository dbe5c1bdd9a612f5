//! The events of a YAML document, as the C library gives them that both originals read YAML with.
//!
//! Who calls it: the reader. The library's translation to Rust keeps its interface of raw pointers, so this is the
//! module that has `unsafe`: it copies everything out of an event before the event is freed. Parsers written to the
//! letter of the specification were no choice: manifests rely on what this one accepts (unindented lines of quoted and
//! bracketed values), and its words and places are in error texts that people know.

#![allow(unsafe_code)]

use std::ffi::CStr;
use std::mem::MaybeUninit;

use libyaml_rs as sys;

/// A place in the text: line and column, both from 1.
pub(super) type Place = (usize, usize);

/// What stands at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    /// Another anchor's value.
    Alias(String),
    /// A scalar.
    Scalar {
        anchor: Option<String>,
        tag: Option<String>,
        text: String,
        /// Neither quoted nor a block.
        plain: bool,
    },
    /// A list begins.
    SequenceStart { anchor: Option<String>, flow: bool },
    /// A map begins.
    MappingStart { anchor: Option<String>, flow: bool },
    /// The innermost list or map ends.
    End,
}

/// Why the text is no YAML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub problem: String,
    pub context: Option<String>,
    /// Where it was noticed.
    pub at: Place,
    /// Where what was being read began.
    pub began: Place,
}

/// The events of the first document; none if the text has no document. What follows is not looked at, nor what is
/// below a depth that the reader refuses: the library's time grows with the square of the depth.
pub(super) fn first_document(text: &str) -> Result<Vec<(Event, Place)>, Failure> {
    let mut parser = Parser::new(text);
    let mut events = Vec::new();
    let mut depth = 0usize;
    loop {
        let (kind, event, place) = parser.next()?;
        match event {
            Some(Event::SequenceStart { .. } | Event::MappingStart { .. }) => depth += 1,
            Some(Event::End) => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > super::reader::DEPTH_LIMIT {
            events.extend(event.map(|event| (event, place)));
            return Ok(events);
        }
        match kind {
            sys::YAML_DOCUMENT_END_EVENT | sys::YAML_STREAM_END_EVENT => return Ok(events),
            _ => events.extend(event.map(|event| (event, place))),
        }
    }
}

/// The library's parser over a text that outlives it.
struct Parser<'a> {
    // Boxed: the library keeps pointers into it.
    raw: Box<MaybeUninit<sys::yaml_parser_t>>,
    _text: std::marker::PhantomData<&'a str>,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Self {
        let mut raw = Box::new(MaybeUninit::uninit());
        let parser: *mut sys::yaml_parser_t = raw.as_mut_ptr();
        // SAFETY: `parser` points to memory for a parser, which the first call initialises. The text stays borrowed
        // for as long as `Self` lives, and `Drop` ends the parser before that.
        unsafe {
            // It fails only when there is no memory, where Rust's own allocations end the process as well.
            assert!(
                sys::yaml_parser_initialize(parser).ok,
                "no memory for a YAML parser"
            );
            sys::yaml_parser_set_encoding(parser, sys::YAML_UTF8_ENCODING);
            sys::yaml_parser_set_input_string(parser, text.as_ptr(), text.len() as u64);
        }
        Self {
            raw,
            _text: std::marker::PhantomData,
        }
    }

    /// The next event: its kind, and what it is if the reader needs it.
    fn next(&mut self) -> Result<(sys::yaml_event_type_t, Option<Event>, Place), Failure> {
        let parser = self.raw.as_mut_ptr();
        let mut event = MaybeUninit::<sys::yaml_event_t>::uninit();
        // SAFETY: the parser is initialised (`new`), and the call fills the event in when it succeeds. Everything is
        // copied out of the event before it is deleted, once.
        unsafe {
            if sys::yaml_parser_parse(parser, event.as_mut_ptr()).fail {
                return Err(failure(&*parser));
            }
            let event = event.assume_init_mut();
            let copied = (event.type_, copy(event), place(event.start_mark));
            sys::yaml_event_delete(event);
            Ok(copied)
        }
    }
}

impl Drop for Parser<'_> {
    fn drop(&mut self) {
        // SAFETY: the parser is initialised (`new`) and not used again.
        unsafe { sys::yaml_parser_delete(self.raw.as_mut_ptr()) }
    }
}

/// # Safety
/// The event must be one that the parser filled in.
unsafe fn copy(event: &sys::yaml_event_t) -> Option<Event> {
    // SAFETY: the type says which part of the union is set; its strings end with a zero, except a scalar's value,
    // which has its length beside it.
    unsafe {
        match event.type_ {
            sys::YAML_ALIAS_EVENT => Some(Event::Alias(
                string(event.data.alias.anchor).unwrap_or_default(),
            )),
            sys::YAML_SCALAR_EVENT => {
                let scalar = &event.data.scalar;
                let length = usize::try_from(scalar.length).unwrap_or_default();
                let bytes = std::slice::from_raw_parts(scalar.value, length);
                Some(Event::Scalar {
                    anchor: string(scalar.anchor),
                    tag: string(scalar.tag),
                    text: String::from_utf8_lossy(bytes).into_owned(),
                    plain: scalar.style == sys::YAML_PLAIN_SCALAR_STYLE,
                })
            }
            sys::YAML_SEQUENCE_START_EVENT => {
                let start = &event.data.sequence_start;
                Some(Event::SequenceStart {
                    anchor: string(start.anchor),
                    flow: start.style == sys::YAML_FLOW_SEQUENCE_STYLE,
                })
            }
            sys::YAML_MAPPING_START_EVENT => {
                let start = &event.data.mapping_start;
                Some(Event::MappingStart {
                    anchor: string(start.anchor),
                    flow: start.style == sys::YAML_FLOW_MAPPING_STYLE,
                })
            }
            sys::YAML_SEQUENCE_END_EVENT | sys::YAML_MAPPING_END_EVENT => Some(Event::End),
            _ => None,
        }
    }
}

/// # Safety
/// The pointer must be null or point to text that ends with a zero.
unsafe fn string(text: *const u8) -> Option<String> {
    if text.is_null() {
        return None;
    }
    // SAFETY: by the condition above.
    let text = unsafe { CStr::from_ptr(text.cast()) };
    Some(text.to_string_lossy().into_owned())
}

/// # Safety
/// The parser must have failed.
unsafe fn failure(parser: &sys::yaml_parser_t) -> Failure {
    // SAFETY: a parser that failed has texts that end with a zero, or none.
    let (problem, context) =
        unsafe { (string(parser.problem.cast()), string(parser.context.cast())) };
    let at = place(parser.problem_mark);
    // compat: Ruby shows the place of the context, which is at the start where there is none.
    let began = place(parser.context_mark);
    Failure {
        problem: problem.unwrap_or_default(),
        context,
        at,
        began,
    }
}

fn place(mark: sys::yaml_mark_t) -> Place {
    let from_one = |number: u64| usize::try_from(number).unwrap_or(usize::MAX - 1) + 1;
    (from_one(mark.line), from_one(mark.column))
}
