// How an Ogg file ends. Included by this folder's .cpp files only.
#pragma once

#include <string>

namespace wan {

enum class OggEnd {
  Marked,    // the last page says that it is the last
  Unmarked,  // it does not: the file is cut between pages, or its writer left the mark out
  Cut,       // the file ends within a page
};

/// Looks at the last pages of the file.
OggEnd ogg_end(const std::string& path);

}  // namespace wan
