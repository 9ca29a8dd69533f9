#include "engine/job/identity.h"

#include "engine/media/digest.h"
#include "models/checkpoint.h"

namespace wan {

FileIdentity identify(const std::filesystem::path& root, const std::filesystem::path& name) {
  const auto file = MappedFile::open(root / name);
  return {name.generic_string(), file->bytes().size(), sha256(header_of(file))};
}

}  // namespace wan
