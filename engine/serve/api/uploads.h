// What the forms of uploads have in common: bodies become files, parts become one file. One source for each client's
// way.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "engine/serve/api/context.h"
#include "engine/serve/api/signed_urls.h"
#include "engine/serve/api/upload_parts.h"

namespace wan::serve {

struct Uploads {
  explicit Uploads(ApiContext& context) : context(context) {}

  ApiContext& context;
  const SignedUrls signed_urls;

  /// The whole body of a request as the upload.
  Awaitable<void> take(Exchange& exchange, const UploadName& upload, const Quota& quota);

  /// Makes the folder of an upload in parts and returns its name.
  Awaitable<std::string> begin(Exchange& exchange, const UploadName& upload, const Quota& quota);
  /// What is uploaded in these parts; nothing for names that lead nowhere. Throws HttpError 503 where they are being
  /// joined.
  Awaitable<std::optional<UploadName>> in_parts(const Exchange& exchange, const std::string& parts);
  /// The body as part `number`.
  Awaitable<Answer> take_part(Exchange& exchange, const UploadName& upload, const Quota& quota,
                              const std::string& parts, const std::string& number);
  /// The parts that the body lists as the upload. Until it is kept they stay, so that a client may ask again.
  Awaitable<Answer> join(Exchange& exchange, const UploadName& upload, const std::string& parts);

  Answer too_large(Access::Form form) const;
  std::string url_of(const Exchange& exchange, const std::string& file) const;

 private:
  /// The body to a new file that holds its room until the store knows it.
  struct Saved {
    std::filesystem::path part;
    uint64_t bytes = 0;
    RoomHold room;
  };
  Awaitable<Saved> save(Exchange& exchange, const std::string& owner, const Quota& quota, uint64_t most);
};

inline constexpr uint64_t kMostUploadRequest = 64 << 10;  // bytes of what asks for an upload

Answer unknown_upload();
/// A text of the body; `otherwise` where it is absent. Throws HttpError where it is no text.
std::string text_in(const nlohmann::json& body, const char* name, const std::string& otherwise, Access::Form form);
/// Empty where the header is absent.
std::string header_text(const Exchange& exchange, const char* name);
/// A media type as a header may have it; "application/octet-stream" for everything else.
std::string plain_type(std::string_view type);

/// The routes of each way.
void add_keyed_uploads(Router& router, const std::shared_ptr<Uploads>& uploads);
void add_signed_uploads(Router& router, const std::shared_ptr<Uploads>& uploads);
void add_upload_tickets(Router& router, const std::shared_ptr<Uploads>& uploads);

}  // namespace wan::serve
