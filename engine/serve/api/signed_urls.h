// URLs that allow an upload without a key, for a while: what clients PUT to.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "engine/serve/api/stored_files.h"
#include "engine/serve/net/exchange.h"

namespace wan::serve {

class SignedUrls {
 public:
  SignedUrls();

  static constexpr std::chrono::hours kValid{24};

  /// "?expires=...&owner=...&type=...&quota=...&signature=..." for a PUT of this upload; `parts` is that of an upload
  /// in parts, else empty. It holds as long as the owner's key.
  std::string query(const Access& access, const UploadName& upload, const std::string& parts, int64_t now_ms) const;
  /// The upload that a request's URL allows. Throws HttpError 403 where the signature is another's, or too old, or
  /// where the key that asked for it is gone or another now.
  UploadName check(const Exchange& exchange, const Access& access, const std::string& file, const std::string& parts,
                   int64_t now_ms) const;

 private:
  std::string signature(const std::string& key, const UploadName& upload, const std::string& parts,
                        const std::string& expires) const;
  std::string secret_;  // of this process
};

/// Percent-encoded but for letters, digits and "-._~".
std::string url_encoded(const std::string& text);

}  // namespace wan::serve
