#include "engine/serve/api/media_type.h"

#include <algorithm>
#include <cstdint>
#include <fstream>

namespace wan::serve {
namespace {

constexpr size_t kLookedAt = 4096;

std::string beginning(const std::filesystem::path& path) {
  std::string first(kLookedAt, '\0');
  std::ifstream file(path, std::ios::binary);
  file.read(first.data(), std::streamsize(first.size()));
  first.resize(size_t(std::max<std::streamsize>(file.gcount(), 0)));
  return first;
}

bool has(std::string_view text, size_t at, std::string_view mark) {
  return text.size() >= at + mark.size() && text.substr(at, mark.size()) == mark;
}

/// Boxes of ISO files: MP4, QuickTime. Pictures (AVIF, HEIC) are not among what is shown.
std::string iso_type(std::string_view first) {
  const std::string_view brand = first.substr(8, 4);
  if (brand == "qt  ") return "video/quicktime";
  if (brand == "M4A " || brand == "M4B ") return "audio/mp4";
  for (const std::string_view video : {"isom", "iso2", "iso3", "iso4", "iso5", "iso6", "mp41", "mp42", "avc1", "M4V ",
                                       "M4VP", "mp71", "dash", "MSNV", "f4v "})
    if (brand == video) return "video/mp4";
  return "";
}

/// An MPEG audio frame: eleven bits of sync, and fields that are not the reserved values.
bool is_mpeg_audio(std::string_view first) {
  if (first.size() < 4) return false;
  const auto one = uint8_t(first[1]), two = uint8_t(first[2]);
  const bool sync = uint8_t(first[0]) == 0xFF && (one & 0xE0) == 0xE0;
  return sync && (one & 0x18) != 0x08 && (one & 0x06) != 0 && (two & 0xF0) != 0xF0 && (two & 0x0C) != 0x0C;
}

}  // namespace

std::string media_type(std::string_view first) {
  if (has(first, 0, "\x89PNG\r\n\x1A\n")) return "image/png";
  if (has(first, 0, "\xFF\xD8\xFF")) return "image/jpeg";
  if (has(first, 0, "GIF87a") || has(first, 0, "GIF89a")) return "image/gif";
  if (has(first, 0, "RIFF") && has(first, 8, "WEBP")) return "image/webp";
  if (has(first, 0, "RIFF") && has(first, 8, "WAVE")) return "audio/wav";
  if (has(first, 0, "fLaC")) return "audio/flac";
  if (has(first, 0, "OggS")) return "audio/ogg";
  if (has(first, 0, "ID3") || is_mpeg_audio(first)) return "audio/mpeg";
  if (has(first, 4, "ftyp") && first.size() >= 12) return iso_type(first);
  if (has(first, 0, "\x1A\x45\xDF\xA3")) {
    const std::string_view head = first.substr(0, 64);
    return head.find("webm") != head.npos ? "video/webm" : "video/x-matroska";
  }
  return "";
}

std::string media_type_of(const std::filesystem::path& file) {
  return media_type(beginning(file));
}

}  // namespace wan::serve
