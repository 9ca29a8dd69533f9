#include "engine/serve/api/signed_urls.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <charconv>
#include <stdexcept>

#include "engine/serve/api/access.h"
#include "engine/serve/queue/ids.h"
#include "engine/serve/queue/times.h"

namespace wan::serve {
namespace {

std::string value_of(const Exchange& exchange, const char* name) {
  const auto found = exchange.query().find(name);
  return found == exchange.query().end() ? "" : found->second;
}

}  // namespace

std::string url_encoded(const std::string& text) {
  std::string encoded;
  for (const char letter : text) {
    const auto byte = static_cast<unsigned char>(letter);
    const bool plain = (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z') ||
                       letter == '-' || letter == '.' || letter == '_' || letter == '~';
    if (plain)
      encoded += letter;
    else
      encoded += "%" + hex_text(&byte, 1);
  }
  return encoded;
}

SignedUrls::SignedUrls() : secret_(random_hex(32)) {}

std::string SignedUrls::signature(const std::string& key, const UploadName& upload, const std::string& parts,
                                  const std::string& expires) const {
  // Lengths in front: no two uploads give one text.
  std::string text;
  const std::string quota = std::to_string(upload.quota);
  for (const std::string* part : {&key, &upload.file, &upload.owner, &upload.type, &quota, &parts, &expires})
    text += std::to_string(part->size()) + ":" + *part;
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  if (!HMAC(EVP_sha256(), secret_.data(), int(secret_.size()), reinterpret_cast<const unsigned char*>(text.data()),
            text.size(), digest, &size))
    throw std::runtime_error("libcrypto makes no signature");
  return hex_text(digest, size);
}

std::string SignedUrls::query(const Access& access, const UploadName& upload, const std::string& parts,
                              int64_t now_ms) const {
  const std::string key = access.key_hash(upload.owner).value_or("");
  const std::string expires = std::to_string(now_ms / 1000 + std::chrono::seconds(kValid).count());
  return "?expires=" + expires + "&owner=" + url_encoded(upload.owner) + "&type=" + url_encoded(upload.type) +
         "&quota=" + std::to_string(upload.quota) + "&signature=" + signature(key, upload, parts, expires);
}

UploadName SignedUrls::check(const Exchange& exchange, const Access& access, const std::string& file,
                             const std::string& parts, int64_t now_ms) const {
  UploadName upload{.file = file, .owner = value_of(exchange, "owner"), .type = value_of(exchange, "type")};
  const std::string quota = value_of(exchange, "quota");
  std::from_chars(quota.data(), quota.data() + quota.size(), upload.quota);
  const std::string expires = value_of(exchange, "expires"), given = value_of(exchange, "signature");
  const std::optional<std::string> key = access.key_hash(upload.owner);
  const std::string wanted = signature(key.value_or(""), upload, parts, expires);
  const bool good = given.size() == wanted.size() && CRYPTO_memcmp(given.data(), wanted.data(), wanted.size()) == 0;
  if (!good || !key || !Files::is_name(file))
    throw HttpError(refusal(form_of(exchange), 403, "auth_error",
                            "The URL of this upload is not one of this server's, or its key is gone"));
  int64_t until = 0;
  std::from_chars(expires.data(), expires.data() + expires.size(), until);
  if (now_ms / 1000 > until)
    throw HttpError(
        refusal(form_of(exchange), 403, "auth_error", "The URL of this upload has expired; ask for another"));
  return upload;
}

}  // namespace wan::serve
