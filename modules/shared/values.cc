#include "modules/shared/values.h"

#include <charconv>
#include <cstring>
#include <string_view>

namespace weir::shared {

namespace {

conf::Value copied(conf::VariableSource& source, std::string_view text) {
  char* copy = source.allocate(text.size());
  std::memcpy(copy, text.data(), text.size());
  return conf::Value::of({copy, text.size()});
}

}  // namespace

conf::Value number_value(conf::VariableSource& source, uint64_t number) {
  char text[24];
  const char* end = std::to_chars(text, text + sizeof text, number).ptr;
  return copied(source, {text, static_cast<size_t>(end - text)});
}

conf::Value seconds_value(conf::VariableSource& source, uint64_t milliseconds) {
  char text[32];
  char* at = std::to_chars(text, text + sizeof text, milliseconds / 1000).ptr;
  const auto rest = static_cast<unsigned>(milliseconds % 1000);
  *at++ = '.';
  *at++ = static_cast<char>('0' + rest / 100);
  *at++ = static_cast<char>('0' + rest / 10 % 10);
  *at++ = static_cast<char>('0' + rest % 10);
  return copied(source, {text, static_cast<size_t>(at - text)});
}

void define(conf::Compiler& compiler, const Definition& definition) {
  conf::Variable variable;
  variable.name = definition.name;
  variable.get = definition.get;
  variable.set = definition.set;
  variable.data = definition.data;
  variable.cacheable = definition.cacheable;
  variable.changeable = definition.changeable;
  variable.prefix = definition.prefix;
  compiler.variables().define(std::move(variable));
}

}  // namespace weir::shared
