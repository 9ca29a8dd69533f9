#include "engine/media/media_kind.h"

#include <fstream>

namespace wan {
namespace {

struct Mark {
  size_t at;
  Bytes bytes;
  const char* kind;
};

constexpr const char *kPicture = "a picture", *kVideo = "a video", *kSound = "a sound file";
// Of boxes the more telling ones first: pictures in HEIF begin as MP4 does.
constexpr Mark kMarks[] = {{0, "\x89PNG\r\n", kPicture},
                           {0, "\xFF\xD8\xFF", kPicture},
                           {0, "GIF8", kPicture},
                           {0, "BM", kPicture},
                           {0, "II*", kPicture},
                           {0, Bytes("MM\0*", 4), kPicture},
                           {8, "WEBP", kPicture},
                           {4, "jP  ", kPicture},
                           {0, "\xFF\x4F\xFF\x51", kPicture},
                           {4, "ftypheic", kPicture},
                           {4, "ftypheix", kPicture},
                           {4, "ftypmif1", kPicture},
                           {4, "ftypavif", kPicture},
                           {4, "ftypM4A", kSound},
                           {4, "ftyp", kVideo},
                           {0, "\x1A\x45\xDF\xA3", kVideo},
                           {8, "AVI ", kVideo},
                           {0, "FLV", kVideo},
                           {0, "\x30\x26\xB2\x75", kVideo},
                           {8, "WAVE", kSound},
                           {0, "fLaC", kSound},
                           {0, "ID3", kSound},
                           {0, "OggS", kSound}};

}  // namespace

std::string media_kind(Bytes first) {
  for (const Mark& mark : kMarks)
    if (from(first, mark.at, mark.bytes.size()) == mark.bytes) return mark.kind;
  return "";
}

std::string media_kind_of(const std::string& path) {
  char first[16] = {};
  std::ifstream file(path, std::ios::binary);
  file.read(first, sizeof first);
  return media_kind(Bytes(first, size_t(file.gcount())));
}

}  // namespace wan
