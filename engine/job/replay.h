// What a stored record needs to be rendered again: its files found by their names, and whether they are the same ones.
#pragma once

#include <nlohmann/json.hpp>

#include "engine/job/record.h"
#include "models/files/error.h"

namespace wan {

/// One file that is not the record's.
struct Difference {
  std::string subject;    // the file's name, or the input's field
  std::string what;       // "must be as recorded, 507 bytes with samples:..., is absent"
  std::string way_out;    // the flag that names another one
  std::string part = {};  // of a model's file: PartFile::part; empty in records of older versions
  std::string line() const { return "[" + shown_text(subject) + "] " + what; }
};

/// Which of the paths in a request are looked for by find_named.
enum class Named { Model, ModelAndInputs };

/// The fields of a stored request with the model folder and the inputs found by their names: in the folder `beside`
/// (that of the video), then in the current folder. Those that `given` names are left alone; URLs stay. Throws
/// InvalidRequest with all that are found nowhere and the flag that gives each. A model that is a set's name stays one;
/// where another model is given the stored parts do not count.
nlohmann::json find_named(const Request& stored, const nlohmann::json& given, const std::filesystem::path& beside,
                          Named which);

/// The model files that are others than the record's, absent or new; a part's file under another name is the same one,
/// and where a part has one absent and one new file, the new one stands in its place. A record of an older version
/// knows headers only (knows_headers_only): other weights of the same shapes are then not told. Throws ModelError.
std::vector<Difference> other_files(const Record& record, const ModelParts& parts, IdentityCache& cache);
/// Of a part with more than two, the first one, which says how many more files differ: another model is told in a few
/// lines. Those of no part stay as they are.
std::vector<Difference> few_of_each_part(const std::vector<Difference>& differences);
/// The inputs that are others than the record's; of an older version's record, which does not know what they
/// held, only new ones.
std::vector<Difference> other_inputs(const Record& record, const InputIdentities& here);

bool knows_headers_only(const Record& record);

}  // namespace wan
