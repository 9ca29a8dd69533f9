// One HTTP request and its answer, as handlers see them; sockets, TLS and limits stay in connection.cpp.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/serve/net/asio.h"

namespace wan::serve {

/// Name and value; names are compared without regard to case.
using Header = std::pair<std::string, std::string>;

/// Bytes [begin, end) of a file as the body of an answer.
struct FileBody {
  std::filesystem::path path;
  uint64_t begin = 0, end = 0;
};

/// Server-sent events. Both return false once the client has gone; nothing more need be sent then.
class EventStream {
 public:
  virtual ~EventStream() = default;
  /// "data: TEXT\n\n", with "event: NAME\n" before it where `name` is not empty. `data` has no line break.
  virtual Awaitable<bool> send(std::string data, std::string name = {}) = 0;
  /// A comment line, which keeps proxies from closing the connection.
  virtual Awaitable<bool> comment() = 0;
};

/// What is answered: `body`, or in its place a file or events. Content-Length, Date and Connection are set by the connection.
struct Answer {
  int status = 200;
  std::string body = {};
  std::string type = "application/json";
  std::vector<Header> headers = {};
  std::optional<FileBody> file = {};
  std::function<Awaitable<void>(EventStream&)> events = {};
};

/// An answer as an exception: what a handler throws to end at once.
struct HttpError : std::runtime_error {
  explicit HttpError(Answer answer)
      : std::runtime_error("HTTP " + std::to_string(answer.status)), answer(std::move(answer)) {}
  Answer answer;
};

/// A JSON body with a status. Text that is not UTF-8 is replaced, not refused.
Answer json_answer(const nlohmann::ordered_json& body, int status = 200, std::vector<Header> headers = {});

/// A request whose head was read. All members are called on the thread of the server's io_context.
class Exchange {
 public:
  virtual ~Exchange() = default;

  virtual const std::string& method() const = 0;  // "GET", as it was sent
  /// Percent-decoded path without the query, from "/". It has no "." or ".." segment, no NUL and no backslash: others are
  /// answered 400 before a handler sees them.
  virtual const std::string& path() const = 0;
  /// The same, cut at the slashes before decoding: a segment may hold a slash. A slash at the end gives no segment.
  virtual const std::vector<std::string>& segments() const = 0;
  /// Decoded; of a name that comes twice the last value.
  virtual const std::map<std::string, std::string>& query() const = 0;
  /// The value of a header without white space around it; nothing where it is absent.
  virtual std::optional<std::string_view> header(std::string_view name) const = 0;
  /// "http://host:port" for URLs in answers: the configured public URL, else from Host and whether this is TLS.
  virtual std::string base_url() const = 0;
  /// Address of the client, as text: "127.0.0.1".
  virtual std::string peer() const = 0;
  virtual bool peer_is_loopback() const = 0;
  virtual bool is_tls() const = 0;
  /// What the head says that follows; nothing for chunked bodies.
  virtual std::optional<uint64_t> content_length() const = 0;

  /// Asked before so many bytes of a body are in memory; what it throws ends the reading.
  using Admit = std::function<void(uint64_t bytes)>;
  /// The body, in memory. Throws HttpError 413 where it has more than `most` bytes: before it is read, where the head says
  /// so. `admit`, where it is given, is asked once where the head tells the length, else about each piece.
  virtual Awaitable<std::string> read_body(uint64_t most, Admit admit) = 0;
  Awaitable<std::string> read_body(uint64_t most) { return read_body(most, Admit()); }
  /// The body, written to a new file as it comes; returns its length. Throws as read_body; nothing is left then.
  virtual Awaitable<uint64_t> save_body(const std::filesystem::path& path, uint64_t most) = 0;
  /// Returns when the client has closed its side of the connection; for handlers that wait long, beside what they wait for.
  /// What was sent before and not read yet stays; where that is more than the system buffers, the end is not seen behind it.
  /// It may be spawned: where the handler (or the answer's `events`) ends first, it throws
  /// boost::system::system_error(operation_aborted), so whoever spawned it sees that nobody has left. The call itself has
  /// to come while the exchange is there: `co_spawn(executor, exchange.gone(), ...)`.
  virtual Awaitable<void> gone() = 0;
};

using Handler = std::function<Awaitable<Answer>(Exchange&)>;

}  // namespace wan::serve
