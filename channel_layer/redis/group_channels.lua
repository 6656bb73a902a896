-- All members of a group on this server.
--
-- KEYS[1]   zset  readers of the group
-- ARGV[1]   prefix of a reader's presence (string)
-- ARGV[2]   prefix of the members of this group in one process (zset)

local now = redis.call('TIME')
local ms = now[1] * 1000 + now[2] / 1000
local channels = {}
for _, reader in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], ms, '+inf')) do
    if string.sub(reader, -1) ~= '!' then
        channels[#channels + 1] = reader
    elseif redis.call('EXISTS', ARGV[1] .. reader) == 1 then
        for _, member in ipairs(redis.call('ZRANGEBYSCORE', ARGV[2] .. reader, ms, '+inf')) do
            channels[#channels + 1] = reader .. member
        end
    end
end
return channels
