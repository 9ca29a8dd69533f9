#include "engine/media/container.h"

#include <algorithm>
#include <cctype>
#include <filesystem>

namespace wan {

Container container_of(const std::string& path) {
  std::string ending = std::filesystem::path(path).extension().string();
  std::transform(ending.begin(), ending.end(), ending.begin(),
                 [](unsigned char letter) { return std::tolower(letter); });
  return ending == ".mov" ? Container::QuickTime : Container::Mp4;
}

}  // namespace wan
