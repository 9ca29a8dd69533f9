// Pickles: a state dict, and the small ones in front of it in older files.
#include "models/weights/format/pickle.h"

#include "tests/fuzz/answer.h"
#include "tests/fuzz/targets.h"

namespace wan::fuzz {
namespace {

/// What is pickled in an archive: data.pkl is stored as it is, so it can be found by its protocol and its end.
std::string_view pickle_in(std::string_view bytes) {
  const size_t begin = bytes.find("\x80\x02");
  return begin == std::string_view::npos ? bytes : bytes.substr(begin);
}

}  // namespace

void pickle(std::string_view bytes) {
  answer([&] { read_pickled_state_dict(pickle_in(bytes), "pickle"); });
  answer([&] {
    std::string_view rest = pickle_in(bytes);
    take_pickled_strings(rest, "pickle");
  });
  answer([&] {
    std::string_view rest = pickle_in(bytes);
    take_pickled_flag(rest, "little_endian", "pickle");
  });
}

}  // namespace wan::fuzz
