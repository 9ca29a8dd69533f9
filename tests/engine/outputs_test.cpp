#include "engine/job/outputs.h"

#include <gtest/gtest.h>

#include <fstream>

#include "engine/base/error.h"
#include "tests/support.h"

namespace wan {
namespace {

namespace fs = std::filesystem;

TEST(Outputs, AContactSheetNeedsAFreeNameOrAWord) {
  const TemporaryFolder folder;
  const std::string sheet = folder / "sheet.png";
  EXPECT_NO_THROW(check_beside("contact_sheet", "", false)) << "none is asked for";
  EXPECT_NO_THROW(check_beside("contact_sheet", sheet, false)) << "nothing is there";
  std::ofstream(sheet) << "mine";
  EXPECT_THROW(check_beside("contact_sheet", sheet, false), InvalidRequest);
  EXPECT_NO_THROW(check_beside("contact_sheet", sheet, true));
  const std::string link = folder / "link.png";
  fs::create_symlink(folder / "absent", link);
  EXPECT_THROW(check_beside("contact_sheet", link, false), InvalidRequest)
      << "a link that leads nowhere is the user's, too";
  try {
    check_beside("contact_sheet", sheet, false);
  } catch (const InvalidRequest& invalid) {
    EXPECT_EQ(invalid.errors.at(0).field, "contact_sheet");
    EXPECT_NE(invalid.errors.at(0).wrong.find("--overwrite"), std::string::npos) << invalid.what();
  }
}

}  // namespace
}  // namespace wan
