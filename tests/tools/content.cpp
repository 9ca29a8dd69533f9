// Apart from processes, which builds without the engine leave out.
#include <fstream>
#include <sstream>

#include "tests/tools/process.h"

namespace wan {

std::string content(const std::filesystem::path& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

}  // namespace wan
