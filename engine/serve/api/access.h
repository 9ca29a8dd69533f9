// Who calls, and what a caller may do.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/serve/api/keys.h"
#include "engine/serve/net/exchange.h"

namespace wan::serve {

struct Caller {
  std::string name;  // of its key; empty: no keys are configured
  bool admin = true;
  Quota quota;
  /// Whose jobs it sees: nothing means everybody's.
  std::optional<std::string> owner() const { return admin ? std::nullopt : std::optional(name); }
};

/// Checks of every request but those of files, health and signed uploads.
class Access {
 public:
  struct Options {
    std::vector<Key> keys;           // empty: everybody may do everything
    std::string listen;              // "127.0.0.1:8000", "[::]:8000"
    std::string public_url, cors;    // "https://wan.example"; empty: none
    bool secure_cookies = false;     // browsers send the page's cookie over TLS alone
    double requests_per_second = 0;  // of each key, bursts of ten times as many; 0: no limit
  };
  explicit Access(Options options);

  /// Which vendor's words a refusal uses.
  enum class Form { Fal, WaveSpeed, OpenAi };
  /// Who calls: "Authorization: Key|Bearer TEXT", or the cookie of the page. Throws HttpError 401, or 429 with
  /// Retry-After.
  Caller caller(const Exchange& exchange, Form form = Form::Fal);
  /// Throws HttpError 403 where Host is none of this server's names (DNS rebinding), or where a request that changes
  /// something has a foreign Origin. Asked of every request.
  void check_source(const Exchange& exchange) const;
  /// The headers of answers to a browser from the allowed origin; none for others.
  std::vector<Header> cors_headers(const Exchange& exchange) const;
  /// The answer to a browser that asks whether it may send a request from the allowed origin; nothing for all else.
  std::optional<Answer> preflight(const Exchange& exchange) const;

  /// The value of a Set-Cookie header for the page in exchange for a key; nothing where the key is unknown. The cookie
  /// holds nothing that can be read and ends with the process, or when its key leaves the file.
  std::optional<std::string> sign_in(const std::string& key);
  /// Forgets the cookie that came. The value of a Set-Cookie header that takes it out of the browser is signed_out().
  void sign_out(const Exchange& exchange);
  std::string signed_out() const;
  bool wants_keys() const { return !options_.keys.empty(); }
  /// The hash of the key that has this name now; without keys an empty one for the empty name. Nothing for others.
  std::optional<std::string> key_hash(const std::string& name) const;
  /// SIGHUP: other keys from now on.
  void replace_keys(std::vector<Key> keys);

 private:
  struct Bucket {
    double tokens = 0;
    std::chrono::steady_clock::time_point at{};
  };
  struct Session {
    std::string key;      // the hash of its key
    uint64_t number = 0;  // counts up
  };
  const Key* find_key(const std::string& hash) const;
  const Session* session(const Exchange& exchange) const;
  void take_token(const std::string& name, Form form);
  bool is_own_host(std::string_view host) const;
  bool is_own_origin(const Exchange& exchange, std::string_view origin) const;
  std::string cookie_attributes() const;

  Options options_;
  std::string listen_host_, public_host_, public_origin_;
  std::map<std::string, Bucket> buckets_;    // by the names of keys
  std::map<std::string, Session> sessions_;  // by the hash of the cookie
  uint64_t sessions_begun_ = 0;
};

/// Which words a refusal of this path is told in: WaveSpeed's below /api/v3, OpenAI's below /v1, else fal's.
Access::Form form_of(const Exchange& exchange);

/// A refusal in a vendor's form: {"detail": text, "error_type": type} with X-Fal-Error-Type, {"code", "message"}, or
/// openai_error().
Answer refusal(Access::Form form, int status, const std::string& type, const std::string& text,
               std::vector<Header> headers = {});

}  // namespace wan::serve
