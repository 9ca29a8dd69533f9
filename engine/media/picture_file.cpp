#include "engine/media/picture_file.h"

#include <algorithm>
#include <cctype>

#include "engine/media/encoded_picture.h"
#include "models/files/atomic_file.h"

namespace wan {

namespace {

bool is_jpeg(std::string path) {
  std::transform(path.begin(), path.end(), path.begin(), [](unsigned char c) { return char(std::tolower(c)); });
  return path.ends_with(".jpg") || path.ends_with(".jpeg");
}

}  // namespace

void replace_picture(const std::string& path, const at::Tensor& rgb) {
  const std::string bytes = is_jpeg(path) ? encoded_jpeg(rgb) : encoded_png(rgb);
  AtomicFile file(path);
  file.write(bytes.data(), bytes.size());
  file.replace();
}

}  // namespace wan
