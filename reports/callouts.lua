-- Callouts as the embedded renderer writes them, before Quarto reads them: without its theme Quarto
-- turns them into block quotes.
local KINDS = { note = true, tip = true, warning = true, important = true, caution = true }

local function escaped(text)
  return (text:gsub("&", "&amp;"):gsub('"', "&quot;"):gsub("<", "&lt;"):gsub(">", "&gt;"))
end

local function title_of(div, kind)
  local given = div.attributes["title"]
  if given and given ~= "" then
    local read = pandoc.read(given, "markdown").blocks[1]
    return read and read.content or pandoc.Inlines(given)
  end
  local first = div.content[1]
  if first and first.t == "Header" then
    div.content:remove(1)
    return first.content
  end
  return pandoc.Inlines(kind:sub(1, 1):upper() .. kind:sub(2))
end

function Div(div)
  for _, class in ipairs(div.classes) do
    local kind = class:match("^callout%-(%a+)$")
    if kind and KINDS[kind] then
      local title = title_of(div, kind)
      local collapse = div.attributes["collapse"]
      local outer, header = "div", "div"
      if collapse then
        outer, header = "details", "summary"
      end
      local opening = "<" .. outer
      if div.identifier ~= "" then
        opening = opening .. ' id="' .. escaped(div.identifier) .. '"'
      end
      opening = opening .. ' class="callout callout-' .. kind .. '"'
      if collapse == "false" then
        opening = opening .. " open"
      end
      local blocks = pandoc.Blocks({
        pandoc.RawBlock("html", opening .. "><" .. header .. ' class="callout-header">'),
        pandoc.Plain(title),
        pandoc.RawBlock("html", "</" .. header .. '><div class="callout-body">'),
      })
      blocks:extend(div.content)
      blocks:insert(pandoc.RawBlock("html", "</div></" .. outer .. ">"))
      return blocks
    end
  end
end
