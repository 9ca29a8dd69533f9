// Files that are there already where a job is to write: whose they are, and which names are free.
#pragma once

#include <optional>
#include <string>

#include "engine/job/record.h"

namespace wan {

/// The seed of the finished video at `out`, where it is what `record` says: the same request, model files, inputs, device
/// and version. Any seed counts where `record` has one that was not given. Its inputs are
/// all known (identify_fetched): one URL can give two pictures. Nothing where it is no video of ours.
std::optional<uint64_t> finished_seed(const std::string& out, const Record& record);

/// Throws InvalidRequest where the contact sheet would replace a file unasked. None is asked for where it is empty.
void check_sheet(const std::string& sheet, bool overwrite);

/// `out`, or its stem with -2, -3, ... : the first name at which there is neither a file nor unfinished work.
std::string free_name(const std::string& out);

}  // namespace wan
