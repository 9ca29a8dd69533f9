#include "engine/media/digest.h"

#include <array>
#include <memory>
#include <new>

extern "C" {
#include <libavutil/mem.h>
#include <libavutil/sha.h>
}

namespace wan {

std::string sha256(const std::vector<std::string_view>& parts) {
  const auto release = [](AVSHA* sha) { av_free(sha); };
  const std::unique_ptr<AVSHA, decltype(release)> sha(av_sha_alloc(), release);
  if (!sha) throw std::bad_alloc();
  av_sha_init(sha.get(), 256);
  for (std::string_view part : parts) {
    av_sha_update(sha.get(), reinterpret_cast<const uint8_t*>(part.data()), part.size());
  }
  std::array<uint8_t, 32> digest;
  av_sha_final(sha.get(), digest.data());
  std::string text;
  for (uint8_t byte : digest) {
    for (int digit : {byte >> 4, byte & 15}) text += "0123456789abcdef"[digit];
  }
  return text;
}

}  // namespace wan
