#include "engine/serve/net/request_body.h"

#include <algorithm>
#include <string>

#include "engine/serve/net/answer.h"
#include "engine/serve/net/request_parser.h"
#include "engine/serve/net/wire.h"

namespace wan::serve {
namespace {

constexpr uint64_t kMostDrained = 256 << 10;

}  // namespace

RequestBody::RequestBody(Wire& wire, RequestParser& parser, std::chrono::seconds silence)
    : wire_(wire), parser_(parser), silence_(silence) {
  parser.eager(true);
  if (!parser.chunked()) length_ = parser.content_length() ? *parser.content_length() : 0;
  awaits_continue_ = parser.head().version >= 11 && parser.head().find("Expect").has_value() && !parser.is_done();
}

void RequestBody::admit(uint64_t most) const {
  if (length_) check_length(*length_, most);
}

void RequestBody::check_length(uint64_t received, uint64_t most) {
  if (received <= most) return;
  throw HttpError(error_answer(413, "[body] must have at most " + std::to_string(most) + " bytes"));
}

Awaitable<void> RequestBody::begin() {
  if (!std::exchange(awaits_continue_, false)) co_return;
  // A client that sends already does not wait.
  if (wire_.input.unread().empty()) co_await wire_.write("HTTP/1.1 100 Continue\r\n\r\n");
}

bool RequestBody::ended() const {
  return parser_.is_done();
}

Awaitable<std::string_view> RequestBody::piece(size_t enough) {
  return read(enough, std::chrono::steady_clock::time_point::max());
}

Awaitable<std::string_view> RequestBody::read(size_t enough, std::chrono::steady_clock::time_point until) {
  if (wrong_) throw HttpError(error_answer(400, "[body] was wrong already"));
  if (ended()) co_return std::string_view{};
  InputBuffer& input = wire_.input;
  input.to_front();
  if (!length_ || *length_ > input.capacity()) {
    input.reserve(static_cast<size_t>(std::min<uint64_t>(length_.value_or(kPiece), kPiece)));
  }
  // [decoded | gone | unread | room]: what is decoded never reaches what is unread.
  size_t decoded = 0;
  for (;;) {
    if (!input.unread().empty()) {
      RequestParser::Error error;
      parser_.decode_to(input.front() + decoded);
      input.use(parser_.put({input.unread().data(), input.unread().size()}, error));
      decoded = static_cast<size_t>(parser_.decoded_end() - input.front());
      if (error && error != boost::beast::http::error::need_more) {
        wrong_ = true;
        throw HttpError(error_answer(400, "[body] is not what its head says: " + error.message()));
      }
    }
    if (ended() || decoded >= enough) break;
    if (input.room_size() == 0) {
      if (decoded > 0) break;
      if (input.unread().size() == input.capacity()) {
        wrong_ = true;
        throw HttpError(error_answer(400, "[body] has a line of more than " + std::to_string(kPiece) + " bytes"));
      }
      input.to_front();
    }
    const auto now = std::chrono::steady_clock::now();
    const Wire::Got got = co_await wire_.read_more(std::min(until, now + silence_));
    if (got == Wire::Got::Bytes) continue;
    wrong_ = true;
    if (got == Wire::Got::Late) {
      throw HttpError(error_answer(408, "[body] must go on within " + std::to_string(silence_.count()) + " s"));
    }
    throw HttpError(error_answer(400, "[body] ended before it was whole"));
  }
  taken_ += decoded;
  co_return std::string_view(input.front(), decoded);
}

bool RequestBody::worth_draining() const {
  if (ended()) return true;
  return !wrong_ && !awaits_continue_ && (!length_ || *length_ - taken_ <= kMostDrained);
}

Awaitable<bool> RequestBody::drain() {
  if (ended()) co_return true;
  if (!worth_draining()) co_return false;
  const uint64_t begin = wire_.received();
  const auto until = std::chrono::steady_clock::now() + silence_;
  try {
    while (!ended()) {
      co_await read(1, until);
      if (wire_.received() - begin > kMostDrained) break;
    }
  } catch (const HttpError&) {
  }
  co_return ended();
}

}  // namespace wan::serve
