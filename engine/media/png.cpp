#include "engine/media/png.h"

#include "engine/media/encoded_picture.h"
#include "models/files/atomic_file.h"

namespace wan {

void write_png(const std::string& path, const at::Tensor& rgb) {
  const std::string bytes = encoded_png(rgb);
  AtomicFile file(path);
  file.write(bytes.data(), bytes.size());
  file.commit();
}

}  // namespace wan
