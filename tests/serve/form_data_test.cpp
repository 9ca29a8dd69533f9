// Bodies of multipart/form-data.
#include "engine/serve/api/form_data.h"

#include <gtest/gtest.h>

namespace wan::serve {
namespace {

/// Why a body is no form; empty where it is one.
std::string wrong(const std::string& body, const std::string& boundary = "b") {
  try {
    form_parts(body, boundary);
  } catch (const BrokenForm& broken) {
    return broken.what();
  }
  return "";
}

TEST(FormData, HasItsBoundary) {
  EXPECT_EQ(form_boundary("multipart/form-data; boundary=abc"), "abc");
  EXPECT_EQ(form_boundary("Multipart/Form-Data; charset=utf-8; Boundary=\"a b\""), "a b");
  EXPECT_EQ(form_boundary("multipart/form-data"), "");
  EXPECT_EQ(form_boundary("application/json; boundary=abc"), std::nullopt);
  EXPECT_EQ(form_boundary(""), std::nullopt);
}

TEST(FormData, IsCutIntoParts) {
  const std::string picture = std::string("\r\n--c\r\n\0\xFF", 9);  // nearly a boundary
  const std::string body =
      "a preamble\r\n--b\r\nContent-Disposition: form-data; name=\"prompt\"\r\n\r\na cat\r\nand a dog\r\n"
      "--b  \r\ncontent-disposition: form-data; filename=\"C:\\a \\\"b\\\".png\"; name=picture\r\n"
      "Content-Type: image/png\r\n\r\n" +
      picture + "\r\n--b\r\nContent-Disposition: form-data; name=\"empty\"\r\n\r\n\r\n--b--\r\nan epilogue";
  const std::vector<FormPart> parts = form_parts(body, "b");
  ASSERT_EQ(parts.size(), 3u);
  EXPECT_EQ(parts[0].name, "prompt");
  EXPECT_EQ(parts[0].bytes, "a cat\r\nand a dog");
  EXPECT_FALSE(parts[0].is_file);
  EXPECT_EQ(parts[1].name, "picture");
  EXPECT_EQ(parts[1].file_name, "C:\\a \"b\".png");
  EXPECT_EQ(parts[1].type, "image/png");
  EXPECT_EQ(parts[1].bytes, picture);
  EXPECT_TRUE(parts[1].is_file);
  EXPECT_EQ(parts[2].bytes, "");
  EXPECT_TRUE(form_parts("--b--", "b").empty());
}

TEST(FormData, IsRefusedWhereItIsBroken) {
  const std::string head = "Content-Disposition: form-data; name=\"a\"\r\n\r\n";
  EXPECT_NE(wrong("").find("does not begin"), std::string::npos);
  EXPECT_NE(wrong("--b--", "").find("boundary="), std::string::npos);
  EXPECT_NE(wrong("--bc\r\n").find("something else"), std::string::npos);
  EXPECT_NE(wrong("--b\r\n" + head + "text").find("ends within a part"), std::string::npos);
  EXPECT_NE(wrong("--b\r\nContent-Type: text/plain\r\n\r\nx\r\n--b--").find("without a name"), std::string::npos);
  EXPECT_NE(wrong("--b\r\n\r\nx\r\n--b--").find("without a name"), std::string::npos);
  EXPECT_NE(wrong("--b\r\n" + std::string(9000, 'a') + "\r\n\r\nx\r\n--b--").find("whose head"), std::string::npos);
  std::string many;
  for (int i = 0; i < 101; ++i) many += "--b\r\n" + head + "x\r\n";
  EXPECT_NE(wrong(many + "--b--").find("at most 100 parts"), std::string::npos);
}

}  // namespace
}  // namespace wan::serve
