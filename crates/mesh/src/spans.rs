//! Names of spans and of their attributes, in one place, and the trace context that calls carry.
//!
//! A span holds peers, datatypes, methods and reasons only, as metrics do. A caller's context becomes a link: nobody
//! outside chooses what our traces are called or whether they are kept, and of what it sends only two random numbers
//! and a flag are read (`tracestate` and `baggage` are free text).

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState};
use tonic::metadata::MetadataMap;
use tonic::{Request, Status};

/// Span: the checks of a token.
pub const TOKEN_VERIFY: &str = "unefois.token.verify";
/// Span: the search for exactly one person in the source.
pub const SUBJECT_MATCH: &str = "unefois.subject.match";
/// Span: one call of a source.
pub const SOURCE_CALL: &str = "unefois.source.call";
/// Span: one durable write to the ledger.
pub const LEDGER_APPEND: &str = "unefois.ledger.append";
/// Span: from the durable entry to the last byte handed to the network.
pub const RELEASE: &str = "unefois.release";

/// Attribute: the kind of call, `grpc` (OpenTelemetry RPC conventions).
pub const RPC_SYSTEM: &str = "rpc.system.name";
/// Attribute: the full method, `unefois.exchange.v1.ExchangeService/Fetch`, or [`OTHER`].
pub const RPC_METHOD: &str = "rpc.method";
/// Attribute: the name of the status, `DEADLINE_EXCEEDED`.
pub const RPC_STATUS: &str = "rpc.response.status_code";
/// Attribute: the method of an HTTP request, or [`OTHER`].
pub const HTTP_METHOD: &str = "http.request.method";
/// Attribute: the route's pattern, never the path that was asked for.
pub const HTTP_ROUTE: &str = "http.route";
/// Attribute: the status of an HTTP answer.
pub const HTTP_STATUS: &str = "http.response.status_code";
/// Attribute: what kind of failure it was.
pub const ERROR_TYPE: &str = "error.type";
/// What stands for every name that is not ours.
pub const OTHER: &str = "_OTHER";

/// The header that carries a trace context (W3C Trace Context, 3.2).
pub const TRACEPARENT: &str = "traceparent";

/// The context that `traceparent` carries; `None` where it is absent or malformed (W3C Trace Context, 3.2.2).
pub fn trace_context(traceparent: &str) -> Option<SpanContext> {
    let bytes = traceparent.as_bytes();
    let field = |range| {
        traceparent
            .get::<std::ops::Range<usize>>(range)
            .filter(is_lower_hex)
    };
    let dashes = [2, 35, 52].iter().all(|at| bytes.get(*at) == Some(&b'-'));
    // A later version may go on after the flags, behind another dash.
    let whole = match field(0..2)? {
        "00" => bytes.len() == 55,
        "ff" => false,
        _ => bytes.len() == 55 || bytes.get(55) == Some(&b'-'),
    };
    if !dashes || !whole {
        return None;
    }
    let context = SpanContext::new(
        TraceId::from_hex(field(3..35)?).ok()?,
        SpanId::from_hex(field(36..52)?).ok()?,
        TraceFlags::new(u8::from_str_radix(field(53..55)?, 16).ok()?) & TraceFlags::SAMPLED,
        true,
        TraceState::NONE,
    );
    context.is_valid().then_some(context)
}

fn is_lower_hex(text: &&str) -> bool {
    text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
}

/// The header that names the current span to a peer; `None` where no span is recorded.
pub fn current_traceparent() -> Option<String> {
    let context = Context::current();
    let span = context.span().span_context().clone();
    span.is_valid().then(|| {
        let sampled = u8::from(span.is_sampled());
        format!("00-{}-{}-{sampled:02x}", span.trace_id(), span.span_id())
    })
}

/// Writes the current span into a call's metadata, where one is recorded.
pub fn inject(metadata: &mut MetadataMap) {
    if let Some(value) = current_traceparent().and_then(|text| text.parse().ok()) {
        metadata.insert(TRACEPARENT, value);
    }
}

/// An interceptor for clients: each call names the span that makes it.
///
/// `ExchangeServiceClient::with_interceptor(channel, spans::traced)`.
pub fn traced(mut request: Request<()>) -> Result<Request<()>, Status> {
    inject(request.metadata_mut());
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn what_is_no_trace_context_is_ignored() {
        for text in [
            "",
            "00",
            "é0-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-+1",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01more",
            "00_0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331_01",
        ] {
            assert_eq!(trace_context(text), None, "{text}");
        }
    }

    #[test]
    fn a_trace_context_is_read_and_later_versions_too() {
        let context = trace_context(GOOD).expect("the sample of the recommendation");
        assert_eq!(context.trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(context.span_id().to_string(), "b7ad6b7169203331");
        assert!(context.is_sampled() && context.is_remote());
        let later = format!("01{}-and-more", &GOOD[2..]);
        assert_eq!(trace_context(&later), Some(context));
    }

    #[test]
    fn without_a_span_no_header_is_sent() {
        let request = traced(Request::new(())).expect("never refuses");
        assert!(request.metadata().is_empty());
        assert_eq!(current_traceparent(), None);
    }

    #[test]
    fn the_current_span_is_named_to_the_peer() {
        let context = trace_context(GOOD).expect("the sample of the recommendation");
        let _entered = Context::new().with_remote_span_context(context).attach();
        let request = traced(Request::new(())).expect("never refuses");
        assert_eq!(request.metadata().get(TRACEPARENT).unwrap(), GOOD);
    }
}
