// The table of a zip archive.
#include "models/weights/format/zip.h"

#include "tests/fuzz/answer.h"
#include "tests/fuzz/targets.h"

namespace wan::fuzz {

void zip(std::string_view bytes) {
  answer([&] {
    for (const auto& [name, record] : read_zip(bytes, "archive").records)
      if (record.data() < bytes.data() || record.data() + record.size() > bytes.data() + bytes.size())
        throw std::logic_error("the record " + name + " lies outside its archive");
  });
}

}  // namespace wan::fuzz
