// A file of torch.save: the zip archive, or the older row of pickles.
#include "models/weights/format/pth.h"

#include "tests/fuzz/answer.h"
#include "tests/fuzz/memory_file.h"
#include "tests/fuzz/targets.h"

namespace wan::fuzz {

void pth(std::string_view bytes) {
  const MemoryFile file(bytes);
  answer([&] { read_pth(MappedFile::open(file.path())); });
}

}  // namespace wan::fuzz
