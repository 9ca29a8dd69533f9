#include "engine/job/expansion_picture.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstdint>

#include "engine/media/encoded_picture.h"
#include "engine/media/image_reader.h"
#include "engine/media/resize.h"

namespace wan {
namespace {

constexpr int64_t kLongestSide = 768;

std::string base64(const std::string& bytes) {
  constexpr const char* kLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t at = 0; at < bytes.size(); at += 3) {
    const size_t count = std::min<size_t>(3, bytes.size() - at);
    uint32_t group = 0;
    for (size_t i = 0; i < 3; ++i) group = group << 8 | (i < count ? uint8_t(bytes[at + i]) : 0u);
    for (size_t i = 0; i < 4; ++i) text += i <= count ? kLetters[group >> (18 - 6 * i) & 63] : '=';
  }
  return text;
}

}  // namespace

std::string seen_picture(const MediaFile& file) {
  at::Tensor rgb = read_image(file);
  const int64_t height = rgb.size(0), width = rgb.size(1), longest = std::max(height, width);
  if (longest > kLongestSide)
    rgb = resize_pillow(rgb, std::max<int64_t>(1, height * kLongestSide / longest),
                        std::max<int64_t>(1, width * kLongestSide / longest));
  return "data:image/jpeg;base64," + base64(encoded_jpeg(rgb));
}

}  // namespace wan
