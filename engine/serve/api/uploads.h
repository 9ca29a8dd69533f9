// The uploads of both vendors' clients, in all their forms: a token and one request, parts, signed URLs, tickets.
#pragma once

#include <cstdint>
#include <string>

#include "engine/serve/api/context.h"
#include "engine/serve/api/signed_urls.h"
#include "engine/serve/api/upload_parts.h"

namespace wan::serve {

class Uploads {
 public:
  explicit Uploads(ApiContext& context) : context_(context) {}

  // The Python client of fal.
  Awaitable<Answer> token(Exchange& exchange);
  Awaitable<Answer> upload(Exchange& exchange);
  Awaitable<Answer> begin_parts(Exchange& exchange);
  Awaitable<Answer> take_part(Exchange& exchange, std::string file, std::string parts, std::string number);
  Awaitable<Answer> end_parts(Exchange& exchange, std::string file, std::string parts);
  // Signed URLs: that client's other way, and the JavaScript client's.
  Awaitable<Answer> initiate(Exchange& exchange);
  Awaitable<Answer> initiate_parts(Exchange& exchange);
  Awaitable<Answer> put_signed(Exchange& exchange, std::string file);
  Awaitable<Answer> take_signed_part(Exchange& exchange, std::string file, std::string parts, std::string number);
  Awaitable<Answer> end_signed_parts(Exchange& exchange, std::string file, std::string parts);
  // WaveSpeed's.
  Awaitable<Answer> ticket(Exchange& exchange);

 private:
  Awaitable<std::string> begin(const UploadName& upload);
  Awaitable<uint64_t> save(Exchange& exchange, const std::filesystem::path& path, const std::string& owner,
                           const Quota& quota, uint64_t most);
  Awaitable<Answer> save_part(Exchange& exchange, const UploadName& upload, const Quota& quota,
                              const std::string& parts, const std::string& number);
  Awaitable<Answer> join(Exchange& exchange, const UploadName& upload, const std::string& parts);
  Awaitable<std::optional<UploadName>> in_parts(const std::string& parts);
  Answer too_large(Access::Form form) const;
  std::string url_of(const Exchange& exchange, const std::string& file) const;

  ApiContext& context_;
  SignedUrls signed_urls_;
};

/// A media type as a header may have it; "application/octet-stream" for everything else.
std::string plain_type(std::string_view type);

}  // namespace wan::serve
