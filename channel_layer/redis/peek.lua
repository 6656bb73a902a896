-- Look at elements at one end of a queue, taking none.
--
-- Returns the time in milliseconds, and the elements that have not expired, oldest first.

local queue = KEYS[1]                 -- list, of a reader
local most = tonumber(ARGV[1])        -- elements
local most_bytes = tonumber(ARGV[2])  -- after so many bytes the look ends
local from_end = ARGV[3]              -- "1" for the end where messages are added

local PAST = 1000   -- elements that have expired to get past, so that nobody waits long for this script
local AT_ONCE = 20

local found, bytes, step = {}, 0, 0
while #found < most and bytes < most_bytes and step < most + PAST do
    local first, last = step, step + AT_ONCE - 1
    if from_end == '1' then
        first, last = -1 - last, -1 - first
    end
    local some = redis.call('LRANGE', queue, first, last)
    for at = 1, #some do
        local element = some[from_end == '1' and #some + 1 - at or at]
        if #found < most and bytes < most_bytes and #element > 8 and struct.unpack('>d', element) > ms then
            found[#found + 1] = element
            bytes = bytes + #element
        end
    end
    if #some < AT_ONCE then
        break
    end
    step = step + AT_ONCE
end
if from_end == '1' then
    local oldest_first = {}
    for at = #found, 1, -1 do
        oldest_first[#oldest_first + 1] = found[at]
    end
    found = oldest_first
end
return { string.format('%.3f', ms), found }
