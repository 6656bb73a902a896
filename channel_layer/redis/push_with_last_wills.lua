-- Push frames onto one queue, each together with what it does to the last will for a channel; see last_wills.py.
--
-- KEYS[1]   hash  statistics of the whole layer: sent, full
-- KEYS[2]   list  queue of a reader, as in push.lua
-- KEYS[3]   hash  statistics of that reader: sent, full
-- KEYS[4]   zset  processes that have left last wills → when to see whether they are alive
-- ARGV[1]   milliseconds a message lives
-- ARGV[2]   milliseconds statistics live without a change
-- ARGV[3]   capacity of the queue
-- ARGV[4]   prefix of the last wills of a process (hash): local part → will
-- ARGV[5]   prefix of the local parts whose last wills were carried out (set)
-- ARGV[6]   milliseconds a process that has just left its first last will counts as alive
-- ARGV[7]   milliseconds that last wills are kept
-- then per item: its frame, empty if there is only a last will; the process that the last will is for, empty if there is
-- only a frame; the local part; the last will, empty to withdraw it, "?" to drop the frame unless there is one to withdraw
--
-- Returns false if everything was stored, else a list with the number of items refused, which are the last ones.
-- A frame that withdraws a last will is dropped if the last will was carried out: its like lies on the queue already.

local now = redis.call('TIME')
local ms = now[1] * 1000 + now[2] / 1000
local stamp = struct.pack('>d', ms + ARGV[1])

local most = (#ARGV - 7) / 4
local room = most - math.min(most, make_room(KEYS[2], redis.call('LLEN', KEYS[2]) + most - ARGV[3], ms))
local frames, leaving, refused = {}, {}, 0
for at = 8, #ARGV, 4 do
    local frame, process, member, will = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
    if frame ~= '' and #frames == room then
        refused = (#ARGV - at + 1) / 4
        break
    end
    if process == '' then
        frames[#frames + 1] = stamp .. frame
    elseif will == '?' then
        if redis.call('HDEL', ARGV[4] .. process, member) == 1 then
            frames[#frames + 1] = stamp .. frame
        end
    elseif will ~= '' then
        leaving[process] = true
        redis.call('HSET', ARGV[4] .. process, member, will)
        if frame ~= '' then
            frames[#frames + 1] = stamp .. frame
        end
    elseif redis.call('HDEL', ARGV[4] .. process, member) == 1
        -- It may be missing because the data was lost; then nobody has carried it out.
        or redis.call('SISMEMBER', ARGV[5] .. process, member) == 0 then
        if frame ~= '' then
            frames[#frames + 1] = stamp .. frame
        end
    end
end
for process in pairs(leaving) do
    redis.call('PEXPIRE', ARGV[4] .. process, ARGV[7])
    redis.call('ZADD', KEYS[4], 'NX', ms + ARGV[6], process)
end

local sent = #frames
if sent > 0 then
    local length
    for first = 1, sent, 1000 do
        length = redis.call('RPUSH', KEYS[2], unpack(frames, first, math.min(sent, first + 999)))
    end
    keep(KEYS[2], length == sent, ARGV[1] + 10000)
end
account(KEYS[1], sent, refused, now)
account(KEYS[3], sent, refused, now)
redis.call('PEXPIRE', KEYS[3], ARGV[2])
return refused > 0 and { refused }
