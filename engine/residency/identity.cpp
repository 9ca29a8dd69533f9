#include "engine/residency/identity.h"

#include "models/files/digest.h"
#include "models/files/mapped_file.h"
#include "models/weights/format/format.h"

namespace wan {

FileIdentity identify(const std::filesystem::path& root, const std::filesystem::path& name) {
  const auto file = MappedFile::open(root / name);
  return {name.generic_string(), file->bytes().size(), sha256(header_of(file))};
}

}  // namespace wan
