#include "engine/serve/net/connection.h"

#include <optional>

#include "engine/serve/net/answer_writer.h"
#include "engine/serve/net/request_body.h"
#include "engine/serve/net/request_exchange.h"
#include "engine/serve/net/request_parser.h"

namespace wan::serve {
namespace {

namespace http = boost::beast::http;

/// Of a head that cannot be parsed.
HttpError broken_head(const RequestParser::Error& error, uint64_t most) {
  if (error == http::error::header_limit) {
    return HttpError(error_answer(431, "[header] must have at most " + std::to_string(most) + " bytes"));
  }
  return HttpError(error_answer(400, "the request is no HTTP/1.1: " + error.message()));
}

/// Empty lines before a request are allowed.
void skip_empty_lines(InputBuffer& input) {
  while (input.unread().starts_with("\r\n")) input.use(2);
}

}  // namespace

Connection::Connection(std::shared_ptr<ServerParts> service, std::unique_ptr<Link> link)
    : service_(std::move(service)),
      wire_(std::make_shared<Wire>(std::move(link), service_->wires, service_->options.body_time)) {}

Awaitable<void> Connection::run(std::shared_ptr<Connection> self) {
  co_await self->run();
}

Awaitable<void> Connection::run() {
  std::string failure;
  try {
    wire_->idle = true;
    bool goes_on = co_await wire_->handshake(Clock::now() + service_->options.header_time);
    while (goes_on) {
      goes_on = co_await wait_for_request();
      if (goes_on) goes_on = co_await serve();
      wire_->input.shrink();
    }
  } catch (const std::exception& error) {
    failure = error.what();
  }
  wire_->close();
  if (!failure.empty()) service_->report("a connection was broken off: " + failure);
}

Awaitable<bool> Connection::wait_for_request() {
  InputBuffer& input = wire_->input;
  skip_empty_lines(input);
  if (!input.unread().empty()) co_return true;
  if (service_->stops) co_return false;
  input.to_front();
  input.reserve(InputBuffer::kSmall);
  wire_->idle = true;
  const Wire::Got got = co_await wire_->read_more(Clock::now() + service_->options.idle_time);
  wire_->idle = false;
  co_return got == Wire::Got::Bytes;
}

Awaitable<bool> Connection::serve() {
  const auto parser = std::make_unique<RequestParser>(static_cast<uint32_t>(
      std::min<uint64_t>(service_->options.most_header_bytes, std::numeric_limits<uint32_t>::max())));
  std::optional<Answer> refusal;
  try {
    if (!co_await read_head(*parser)) co_return false;
  } catch (const HttpError& error) {
    refusal = error.answer;
  }
  if (!refusal) co_return co_await serve(*parser);
  co_await refuse(*refusal, *parser);
  co_return false;
}

Awaitable<bool> Connection::read_head(RequestParser& parser) {
  const uint64_t most = service_->options.most_header_bytes;
  const Clock::time_point until = Clock::now() + service_->options.header_time;
  InputBuffer& input = wire_->input;
  uint64_t size = 0;  // what the parser took; it counts only what it was given at a time
  for (;;) {
    if (size == 0) skip_empty_lines(input);
    if (!input.unread().empty()) {
      RequestParser::Error error;
      const size_t taken = parser.put({input.unread().data(), input.unread().size()}, error);
      input.use(taken);
      size += taken;
      const bool done = !error && parser.is_header_done();
      if (size > most || (!done && size + input.unread().size() > most)) error = http::error::header_limit;
      if (error && error != http::error::need_more) throw broken_head(error, most);
      if (done) break;
    }
    if (input.room_size() == 0) {
      input.to_front();
      if (input.room_size() == 0) input.reserve(2 * input.capacity());
    }
    const Wire::Got got = co_await wire_->read_more(until);
    if (got == Wire::Got::Bytes) continue;
    if (got == Wire::Got::End) co_return false;
    throw HttpError(error_answer(
        408, "[header] must be whole within " + std::to_string(service_->options.header_time.count()) + " s"));
  }
  check_head(parser.head());
  co_return true;
}

Awaitable<bool> Connection::serve(RequestParser& parser) {
  RequestBody body(*wire_, parser, service_->options.body_time);
  std::optional<RequestExchange> exchange;
  Answer answer;
  std::string failure;
  try {
    exchange.emplace(wire_, parser, body, service_->options, service_->pool);
    answer = co_await service_->handler(*exchange);
  } catch (const HttpError& error) {
    answer = error.answer;
  } catch (const std::exception& error) {
    failure = error.what();
    answer = internal_error();
  } catch (...) {
    failure = "what was thrown is no std::exception";
    answer = internal_error();
  }
  if (!failure.empty()) {
    service_->report(parser.head().method + " " + (exchange ? exchange->path() : "?") + ": " + failure);
  }
  if (exchange) exchange->end_waits();

  const Framing framing{.version = parser.head().version,
                        .head_only = parser.head().method == "HEAD",
                        .keep_alive = parser.keep_alive() && !service_->stops && body.worth_draining() &&
                                      !(answer.events && parser.head().version < 11)};
  AnswerWriter writer(*wire_, service_->pool, service_->date, service_->stops, service_->report);
  const bool written = co_await writer.write(answer, framing);
  if (exchange) exchange->end_waits();
  answer = {};
  if (!written) co_return false;
  if (framing.keep_alive) {
    const bool drained = co_await body.drain();
    if (drained) co_return true;
  }
  // TLS tells the end of a stream from one that was cut off.
  if (wire_->link().is_tls() || !body.ended() || !wire_->input.unread().empty()) co_await wire_->end_softly();
  co_return false;
}

Awaitable<void> Connection::refuse(const Answer& answer, const RequestParser& parser) {
  AnswerWriter writer(*wire_, service_->pool, service_->date, service_->stops, service_->report);
  const Framing framing{.version = 11, .head_only = parser.head().method == "HEAD", .keep_alive = false};
  const bool written = co_await writer.write(answer, framing);
  if (written) co_await wire_->end_softly();
}

}  // namespace wan::serve
