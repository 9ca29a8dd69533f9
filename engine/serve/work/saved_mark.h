// What a batch has saved, in one word.
#pragma once

#include <filesystem>
#include <string>

namespace wan::serve {

/// The same text as long as the work folder of a batch holds the same saved work, and another one once a job of it has
/// saved more: told from names, sizes and beginnings of its files (engine/serve/work/protocol.h says which). Empty where
/// it holds none. Blocks.
std::string saved_mark(const std::filesystem::path& folder);

}  // namespace wan::serve
