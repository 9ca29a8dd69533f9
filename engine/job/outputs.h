// Files that are there already where a job is to write: whose they are, and which names are free.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "engine/job/record.h"
#include "engine/job/work_folder.h"

namespace wan {

/// The seed of the finished video at `out`, where it is what `record` says: the same request, model files, inputs, device
/// and version. Any seed counts where `record` has one that was not given. Its inputs are
/// all known (identify_fetched): one URL can give two pictures. Nothing where it is no video of ours.
std::optional<uint64_t> finished_seed(const std::string& out, const Record& record);

/// Throws InvalidRequest where a file beside the video (`field`: contact_sheet, capture_qk) would replace one unasked.
/// None is asked for where it is empty.
void check_beside(const std::string& field, const std::string& file, bool overwrite);

/// The same for the preview. One that the unfinished run in `work`, a single render's folder, has begun is replaced.
void check_preview(const std::string& preview, bool overwrite, const std::filesystem::path& work);
/// Notes in `work` that its run shows the preview; nothing where it is empty.
void note_preview(const std::string& preview, WorkFolder& work);

/// `out`, or its stem with -2, -3, ... : the first name at which there is neither a file nor unfinished work.
std::string free_name(const std::string& out);

}  // namespace wan
